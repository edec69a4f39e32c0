//! What a chat model is: messages in, a stream of events out.
//!
//! A stream gives events in any order, then exactly one `Finished`, then at most one `Usage`; or it ends
//! at any point with one error, which is last. Dropping it stops the model.

use super::{ChatEvent, ChatRequest, LlmError};
use futures_util::Stream;
use futures_util::future::BoxFuture;
use std::pin::Pin;
use std::time::Duration;

/// An answer under way.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatEvent, LlmError>> + Send>>;

/// A provider that has begun to answer.
pub struct Answering {
    pub events: ChatStream,
    /// What the provider said about its own limits.
    pub headroom: Headroom,
}

impl From<ChatStream> for Answering {
    fn from(events: ChatStream) -> Self {
        Self { events, headroom: Headroom::default() }
    }
}

/// What is left of a provider's rate limits, where it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Headroom {
    pub requests: Option<Left>,
    pub tokens: Option<Left>,
}

impl Headroom {
    /// Until there is some again, where none is left.
    #[must_use]
    pub fn used_up(self) -> Option<Duration> {
        let left = [self.requests, self.tokens].into_iter().flatten();
        left.filter(|left| left.remaining == 0).map(|left| left.resets_in).max()
    }
}

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    pub remaining: u64,
    /// Until all of it is there again.
    pub resets_in: Duration,
}

/// Something that answers.
pub trait ChatModel: Send + Sync {
    /// A short name for logs, metrics and bills, such as `openai`.
    fn provider(&self) -> &'static str;

    /// Asks once. Resolves when the provider has begun to answer; what the answer then does, including
    /// failing, is in the stream.
    fn ask(&self, request: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>>;
}
