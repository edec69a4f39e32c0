//! An answer while it streams: frames in, events out, with the deadlines between them.
//!
//! Invariant: `Text`*, then one `Finished`, then at most one `Usage`; or an error, last. A finish
//! reason is the promise that the answer is complete: whatever goes wrong after it (no `[DONE]`, a
//! reset, silence) costs the usage figures and nothing else. Dropping the stream drops the
//! response body and with it the connection.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::{chunk::Chunk, client::Deadlines};
use crate::types::Secret;
use crate::{
    llm::{ChatEvent, ChatStream, FinishReason, LlmError, TokenUsage, Wait},
    net::{Complaint, Event, EventStream, IdleLimit, SseError, describe},
};

/// How long a finished answer waits for its usage frame.
const TAIL: Duration = Duration::from_secs(3);

/// Turns the frames of a response into an answer. Time counts from this call; `limit` is the idle
/// limit of `frames`, lowered once the answer is under way.
pub(super) fn streamed(
    frames: EventStream<reqwest::Error>,
    limit: IdleLimit,
    deadlines: Deadlines,
    key: Option<Secret>,
) -> ChatStream {
    let answer = Answer {
        frames,
        limit,
        deadlines,
        until: Some(Instant::now() + deadlines.first_token),
        key,
        ready: VecDeque::new(),
        usage: None,
        finished: false,
        ended: false,
    };
    stream::unfold(answer, |mut answer| async move {
        let event = answer.next().await?;
        Some((event, answer))
    })
    .boxed()
}

/// The same events from a response that came whole.
pub(super) fn whole(body: &[u8], key: Option<&Secret>) -> Result<ChatStream, LlmError> {
    let chunk = Chunk::parse(body).ok_or_else(|| protocol("a JSON body that is no object"))?;
    if let Some(failure) = chunk.failure {
        return Err(LlmError::Upstream(Complaint::parse(&failure, key)));
    }
    if chunk.text.is_empty() && chunk.finish.is_none() {
        return Err(protocol("a JSON body without an answer"));
    }
    let mut events = Vec::new();
    if !chunk.text.is_empty() {
        events.push(Ok(ChatEvent::Text(chunk.text)));
    }
    events.push(Ok(ChatEvent::Finished(chunk.finish.unwrap_or(FinishReason::Stop))));
    events.extend(chunk.usage.map(|usage| Ok(ChatEvent::Usage(usage))));
    Ok(stream::iter(events).boxed())
}

fn protocol(detail: &str) -> LlmError {
    LlmError::Protocol { detail: detail.to_owned() }
}

struct Answer {
    frames: EventStream<reqwest::Error>,
    /// Set until the first sign of an answer, and again after its finish.
    until: Option<Instant>,
    /// How long the frames may be silent: longer until the first token came.
    limit: IdleLimit,
    deadlines: Deadlines,
    /// Redacted from what the provider says.
    key: Option<Secret>,
    /// Events of a frame that gave several.
    ready: VecDeque<ChatEvent>,
    /// The latest usage: some servers report it with every frame, growing.
    usage: Option<TokenUsage>,
    finished: bool,
    ended: bool,
}

impl Answer {
    async fn next(&mut self) -> Option<Result<ChatEvent, LlmError>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            let frame = match self.until {
                Some(until) => timeout_at(until, self.frames.next()).await,
                None => Ok(self.frames.next().await),
            };
            let step = match frame {
                Ok(Some(Ok(event))) => self.frame(&event),
                Ok(Some(Err(error))) => Err(broken(error)),
                Ok(None) => self.end(),
                Err(_elapsed) => Err(self.late()),
            };
            if let Err(error) = step {
                self.ended = true;
                if !self.finished {
                    return Some(Err(error));
                }
                tracing::debug!(llm.error = %error, "the model stream failed after its answer");
                self.ready.extend(self.usage.take().map(ChatEvent::Usage));
            }
        }
    }

    fn frame(&mut self, event: &Event) -> Result<(), LlmError> {
        match event.data.trim() {
            // Keep-alives of some servers are events without data.
            "" => return Ok(()),
            "[DONE]" => return self.done(),
            _ => {}
        }
        let chunk = Chunk::parse(event.data.as_bytes());
        if event.event == "error" || chunk.as_ref().is_some_and(|chunk| chunk.failure.is_some()) {
            let body = serde_json::from_str(&event.data).unwrap_or_default();
            return Err(LlmError::Upstream(Complaint::parse(&body, self.key.as_ref())));
        }
        let chunk = chunk.ok_or_else(|| protocol("a frame that is no JSON object"))?;
        self.usage = chunk.usage.or(self.usage);
        if self.finished {
            return Ok(());
        }
        if !chunk.text.is_empty() || chunk.thinking {
            self.until = None;
            self.limit.set(self.deadlines.idle);
        }
        if !chunk.text.is_empty() {
            self.ready.push_back(ChatEvent::Text(chunk.text));
        }
        if let Some(reason) = chunk.finish {
            self.finish(reason);
        }
        Ok(())
    }

    fn late(&self) -> LlmError {
        LlmError::Timeout { what: Wait::FirstToken, after: self.deadlines.first_token }
    }

    fn finish(&mut self, reason: FinishReason) {
        self.finished = true;
        self.until = Some(Instant::now() + TAIL);
        self.ready.push_back(ChatEvent::Finished(reason));
    }

    /// `[DONE]`: the provider says that the answer is complete, reason given or not.
    fn done(&mut self) -> Result<(), LlmError> {
        if !self.finished {
            self.finish(FinishReason::Stop);
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), LlmError> {
        if !self.finished {
            return Err(LlmError::Cut);
        }
        self.ended = true;
        self.ready.extend(self.usage.take().map(ChatEvent::Usage));
        Ok(())
    }
}

fn broken(error: SseError<reqwest::Error>) -> LlmError {
    match error {
        SseError::Idle { after } => LlmError::Idle { after },
        SseError::Transport(error) => LlmError::Broken { detail: describe(error) },
        SseError::TooLong | SseError::Utf8 | SseError::Syntax => protocol(&error.to_string()),
    }
}
