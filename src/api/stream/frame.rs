//! What is said over a WebSocket, both ways (docs/websocket.md).

use crate::api::problem::Problem;
use crate::types::{ConversationId, MessageId, TurnId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ClientFrame {
    Auth { token: String },
    Send(SendFrame),
    Attach { turn_id: TurnId, after: Option<i64> },
    Stop { turn_id: TurnId },
    Ping,
}

/// A question.
#[derive(Deserialize)]
pub(super) struct SendFrame {
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
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ServerFrame<'a> {
    Ready {
        heartbeat_ms: u64,
    },
    Accepted {
        request_id: Option<String>,
        turn_id: TurnId,
        conversation_id: ConversationId,
    },
    Part {
        turn_id: TurnId,
        /// Told with pieces of text that were merged: the offset of the first.
        #[serde(skip_serializing_if = "Option::is_none")]
        first_offset: Option<usize>,
        offset: usize,
        part: &'a RawValue,
    },
    Error {
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        turn_id: Option<TurnId>,
        problem: Problem,
    },
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
