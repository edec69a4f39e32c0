//! An answer while it streams: frames in, events out, with the deadlines between them.
//!
//! A finish reason is the promise that the answer is complete: whatever goes wrong after it (no
//! `[DONE]`, a reset, silence) costs the usage figures and nothing else. What the prompt cost is said
//! as soon as it is known, so that an answer that is stopped or breaks is billed for what it was.
//! Dropping the stream drops the response body and with it the connection.

use std::{collections::VecDeque, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};

use super::{
    link::Deadlines,
    said::{Decode, Said},
};
use crate::types::Secret;
use crate::{
    llm::{ChatEvent, ChatStream, FinishReason, LlmError, TokenUsage, Wait},
    net::{Event, EventStream, IdleLimit, SseError, describe},
};

/// How long a finished answer waits for its usage.
const TAIL: Duration = Duration::from_secs(3);

type Step = Result<ChatEvent, LlmError>;

/// Turns the frames of a response into an answer. Time counts from this call; `limit` is the idle
/// limit of `frames`, lowered once the answer is under way.
pub(super) fn streamed<D: Decode + 'static>(
    frames: EventStream<reqwest::Error>,
    limit: IdleLimit,
    deadlines: Deadlines,
    decoder: D,
    key: Option<Secret>,
) -> ChatStream {
    let answer = Answer {
        frames,
        decoder,
        key,
        limit,
        deadlines,
        until: Some(Instant::now() + deadlines.first_token),
        ready: VecDeque::new(),
        usage: TokenUsage::default(),
        told: TokenUsage::default(),
        called: false,
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
pub(super) fn whole<D: Decode>(
    body: &[u8],
    mut decoder: D,
    key: Option<&Secret>,
) -> Result<ChatStream, LlmError> {
    let said = std::str::from_utf8(body).ok().and_then(|body| decoder.read("message", body));
    let said = said.ok_or_else(|| protocol("a JSON body that is no answer"))?;
    if let Some(failure) = said.failure {
        return Err(LlmError::Upstream(decoder.complaint(&failure, key)));
    }
    if said.events.is_empty() && said.finish.is_none() {
        return Err(protocol("a JSON body without an answer"));
    }
    let reason = reason(said.finish.unwrap_or(FinishReason::Stop), calls(&said.events));
    let mut events = said.events;
    events.push(ChatEvent::Finished(reason));
    events.extend((said.usage != TokenUsage::default()).then_some(ChatEvent::Usage(said.usage)));
    Ok(stream::iter(events.into_iter().map(Ok)).boxed())
}

fn protocol(detail: &str) -> LlmError {
    LlmError::Protocol { detail: detail.to_owned() }
}

fn calls(events: &[ChatEvent]) -> bool {
    events.iter().any(|event| matches!(event, ChatEvent::ToolBegin { .. }))
}

/// Some providers say "stop" when they wait for the results of calls.
fn reason(said: FinishReason, called: bool) -> FinishReason {
    if called && said == FinishReason::Stop { FinishReason::ToolCalls } else { said }
}

struct Answer<D> {
    frames: EventStream<reqwest::Error>,
    decoder: D,
    /// Redacted from what the provider says.
    key: Option<Secret>,
    /// How long the frames may be silent: longer until the first token came.
    limit: IdleLimit,
    deadlines: Deadlines,
    /// Set until the first sign of an answer, and again after its finish.
    until: Option<Instant>,
    /// What a frame gave and nobody has taken yet.
    ready: VecDeque<Step>,
    /// The latest usage: some servers report it with every frame, growing.
    usage: TokenUsage,
    /// What of it was said to whoever reads the answer.
    told: TokenUsage,
    /// A tool is to be called.
    called: bool,
    finished: bool,
    ended: bool,
}

impl<D: Decode> Answer<D> {
    async fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
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
                self.fail(error);
            }
        }
    }

    fn frame(&mut self, event: &Event) -> Result<(), LlmError> {
        // Keep-alives of some servers are events without data.
        if event.data.trim().is_empty() {
            return Ok(());
        }
        let said = self.decoder.read(&event.event, &event.data);
        let said = said.ok_or_else(|| protocol("a frame that is no part of an answer"))?;
        if let Some(failure) = said.failure {
            let complaint = self.decoder.complaint(&failure, self.key.as_ref());
            return Err(LlmError::Upstream(complaint));
        }
        let done = said.done;
        self.take(said);
        if done { self.done() } else { Ok(()) }
    }

    fn take(&mut self, said: Said) {
        self.usage = self.usage.updated(said.usage);
        if self.finished {
            return;
        }
        if said.alive || !said.events.is_empty() {
            self.until = None;
            self.limit.set(self.deadlines.idle);
        }
        self.called |= calls(&said.events);
        self.ready.extend(said.events.into_iter().map(Ok));
        if let Some(reason) = said.finish {
            self.finish(reason);
        } else if self.told.input.is_none() && self.usage.input.is_some() {
            let prompt = TokenUsage { output: None, reasoning: None, ..self.usage };
            self.tell(prompt);
        }
    }

    fn tell(&mut self, usage: TokenUsage) {
        if usage != self.told {
            self.told = usage;
            self.ready.push_back(Ok(ChatEvent::Usage(usage)));
        }
    }

    fn late(&self) -> LlmError {
        LlmError::Timeout { what: Wait::FirstToken, after: self.deadlines.first_token }
    }

    fn finish(&mut self, said: FinishReason) {
        self.finished = true;
        self.until = Some(Instant::now() + TAIL);
        self.ready.push_back(Ok(ChatEvent::Finished(reason(said, self.called))));
    }

    /// The provider says that the answer is complete, reason given or not.
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
        self.tell(self.usage);
        Ok(())
    }

    fn fail(&mut self, error: LlmError) {
        self.ended = true;
        self.tell(self.usage);
        if self.finished {
            tracing::debug!(llm.error = %error, "the model stream failed after its answer");
        } else {
            self.ready.push_back(Err(error));
        }
    }
}

fn broken(error: SseError<reqwest::Error>) -> LlmError {
    match error {
        SseError::Idle { after } => LlmError::Idle { after },
        SseError::Transport(error) => LlmError::Broken { detail: describe(error) },
        SseError::TooLong | SseError::Utf8 | SseError::Syntax => protocol(&error.to_string()),
    }
}
