//! An answer under way: its model's breaker hears how it ends, and it does not last for ever.

use super::breaker::Permit;
use crate::llm::{ChatEvent, ChatStream, LlmError, Wait};
use futures_util::{StreamExt as _, stream};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

struct Watched {
    events: ChatStream,
    permit: Permit,
    until: Instant,
    total: Duration,
    /// The answer is complete; figures may follow.
    finished: bool,
    over: bool,
}

/// The same events, and an error when the answer takes longer than `total`, which ends at `until`.
pub(super) fn watched(
    events: ChatStream,
    permit: Permit,
    until: Instant,
    total: Duration,
) -> ChatStream {
    let watched = Watched { events, permit, until, total, finished: false, over: false };
    stream::unfold(watched, |mut watched| async move {
        let event = watched.next().await?;
        Some((event, watched))
    })
    .boxed()
}

impl Watched {
    async fn next(&mut self) -> Option<Result<ChatEvent, LlmError>> {
        if self.over {
            return None;
        }
        let event = match timeout_at(self.until, self.events.next()).await {
            Ok(event) => event,
            Err(_elapsed) if self.finished => None,
            Err(_elapsed) => Some(Err(LlmError::Timeout { what: Wait::End, after: self.total })),
        };
        match &event {
            Some(Ok(ChatEvent::Finished(_))) => {
                self.finished = true;
                self.permit.ended();
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                self.over = true;
                self.permit.failed(error);
            }
            None => self.over = true,
        }
        event
    }
}
