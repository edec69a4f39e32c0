//! What is said over a WebSocket, both ways (docs/websocket.md).

use crate::api::problem::Problem;
use crate::chat::Part;
use crate::types::{ConversationId, MessageId, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// What a client says.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::api) enum ClientFrame {
    /// Says who it is.
    Auth { token: String },
    /// Asks.
    Send(SendFrame),
    /// Follows a turn, after an offset.
    Attach { turn_id: TurnId, after: Option<i64> },
    /// Ends a turn.
    Stop { turn_id: TurnId },
    /// Is anybody there?
    Ping,
}

/// A question.
#[derive(Deserialize, ToSchema)]
pub(in crate::api) struct SendFrame {
    pub(super) request_id: Option<String>,
    pub(super) conversation_id: Option<ConversationId>,
    pub(super) assistant: Option<String>,
    #[serde(default)]
    pub(super) draft: bool,
    pub(super) text: Option<String>,
    pub(super) edit_of: Option<MessageId>,
    pub(super) regenerate: Option<MessageId>,
    pub(super) idempotency_key: Option<String>,
}

/// What the server says.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::api) enum ServerFrame<'a> {
    /// It is known who it is.
    Ready { heartbeat_ms: u64 },
    /// The answer to `send`: the turn that runs.
    Accepted { request_id: Option<String>, turn_id: TurnId, conversation_id: ConversationId },
    /// What is new of a turn.
    Part {
        turn_id: TurnId,
        /// Told with pieces of text that were merged: the offset of the first.
        #[serde(skip_serializing_if = "Option::is_none")]
        first_offset: Option<usize>,
        offset: usize,
        #[schema(value_type = Part)]
        part: &'a RawValue,
    },
    /// A frame was refused.
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn_id: Option<TurnId>,
        problem: Problem,
    },
    /// The answer to `ping`.
    Pong,
}

/// Even a frame that is not understood may say which request it is.
pub(super) fn request_id_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct OnlyId {
        request_id: Option<String>,
    }
    serde_json::from_str::<OnlyId>(text).ok()?.request_id
}
