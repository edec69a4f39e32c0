//! Asking one candidate after the other until one begins to answer.
//!
//! Another candidate is preferred to waiting. Only when all have failed are those asked again that cannot
//! have begun to work, after a pause with jitter, or the one that the provider asked for.

use super::attempt::{Attempt, Begun, Exhausted, Failure};
use super::blame::{Blame, may_repeat};
use super::breaker::Permit;
use super::route::{Candidate, Route};
use super::watched::watched;
use crate::llm::{
    ChatEvent, ChatRequest, ChatStream, FinishReason, Headroom, LlmError, Role, TokenUsage, Wait,
};
use crate::net::Backoff;
use chrono::Utc;
use futures_util::{StreamExt as _, stream};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// Asks models. Cheap to clone; it remembers nothing: candidates bring their breakers.
#[derive(Clone)]
pub struct Router {
    backoff: Backoff,
}

impl Default for Router {
    fn default() -> Self {
        let (base, cap) = (Duration::from_millis(400), Duration::from_secs(5));
        Self { backoff: Backoff { base, cap, retries: 2 } }
    }
}

/// What to do about a candidate that did not begin.
enum Next {
    /// It may be asked again: after this long, when the provider says so.
    Again(Option<Duration>),
    /// Not for this answer.
    Never,
    /// Nobody will do better.
    GiveUp,
}

/// One way through a route.
struct Run<'a> {
    route: &'a Route,
    request: ChatRequest,
    attempts: Vec<Attempt>,
    error: Option<LlmError>,
    /// A window that was too small for this prompt.
    too_small: u32,
    /// Kept away because something is not set up: that is refused at once, and somebody may have mended it.
    last_resort: Vec<usize>,
}

impl Router {
    /// Replaces the pauses between repetitions and their number.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Asks the candidates of `route` from index `from` on, until one has begun to answer. `request.model` is
    /// set for each of them, and the answer's length kept within what the model can write.
    ///
    /// # Errors
    /// When none began.
    pub async fn begin(
        &self,
        route: &Route,
        from: usize,
        request: ChatRequest,
    ) -> Result<Begun, Exhausted> {
        let (attempts, last_resort) = (Vec::new(), Vec::new());
        let mut run = Run { route, request, attempts, error: None, too_small: 0, last_resort };
        let mut open: Vec<usize> = (from..route.candidates.len()).collect();
        let mut repetition = 0;
        loop {
            let (mut again, mut waits) = (Vec::new(), Vec::new());
            for candidate in open {
                match run.ask(candidate).await {
                    Ok(events) => {
                        return Ok(Begun { candidate, events, attempts: run.attempts });
                    }
                    Err(Next::Again(wait)) => {
                        again.push(candidate);
                        waits.push(wait);
                    }
                    Err(Next::Never) => {}
                    Err(Next::GiveUp) => return Err(run.exhausted()),
                }
            }
            // `None` is the least: one that names no time can be asked at once.
            let Some(pause) =
                waits.into_iter().min().and_then(|asked| self.backoff.pause(repetition, asked))
            else {
                return run.insist().await;
            };
            sleep(pause).await;
            (open, repetition) = (again, repetition + 1);
        }
    }
}

impl Run<'_> {
    async fn ask(&mut self, index: usize) -> Result<ChatStream, Next> {
        let Some(candidate) = self.route.candidates.get(index) else { return Err(Next::Never) };
        if let Some(lack) = candidate.capabilities.lacks(&self.request) {
            let detail = format!("{} cannot do this: {lack}", candidate.id);
            let error = LlmError::Request { detail };
            return Err(self.skipped(candidate, lack, error, Next::Never));
        }
        if candidate.context_window <= self.too_small {
            let error = self.error.clone().unwrap_or(LlmError::Cut);
            return Err(self.skipped(candidate, "window", error, Next::Never));
        }
        let permit = match candidate.breaker.admit() {
            Ok(permit) => permit,
            Err(away) => {
                if Blame::of(&away.error) == Blame::Setup {
                    self.last_resort.push(index);
                }
                let (because, next) = (away.error.code(), Next::Again(Some(away.wait)));
                return Err(self.skipped(candidate, because, away.error, next));
            }
        };
        self.ask_admitted(candidate, permit).await
    }

    /// Asks who was kept away, when there is nobody else.
    async fn insist(mut self) -> Result<Begun, Exhausted> {
        for index in std::mem::take(&mut self.last_resort) {
            let Some(candidate) = self.route.candidates.get(index) else { continue };
            if let Ok(events) = self.ask_admitted(candidate, candidate.breaker.insist()).await {
                return Ok(Begun { candidate: index, events, attempts: self.attempts });
            }
        }
        Err(self.exhausted())
    }

    async fn ask_admitted(
        &mut self,
        candidate: &Candidate,
        mut permit: Permit,
    ) -> Result<ChatStream, Next> {
        let (started, clock) = (Utc::now(), Instant::now());
        let until = clock + candidate.total;
        let mut usage = TokenUsage::default();
        let first = timeout_at(until, first(candidate, self.request.clone(), &mut usage)).await;
        let late = LlmError::Timeout { what: Wait::End, after: candidate.total };
        let outcome = first.unwrap_or(Err(late));
        let error = outcome.as_ref().err();
        self.attempts.push(Attempt {
            model: candidate.id.clone(),
            provider: candidate.provider.clone(),
            error: error.map(Failure::from),
            status: error.and_then(status),
            started,
            took: clock.elapsed(),
            usage,
        });
        let error = match outcome {
            Ok((events, headroom)) => {
                count(candidate, "begun");
                permit.began(headroom);
                return Ok(watched(events, permit, until, candidate.total));
            }
            Err(error) => error,
        };
        count(candidate, error.code());
        permit.failed(&error);
        tracing::info!(llm.provider = candidate.provider, llm.model = candidate.id,
            error.code = error.code(), %error, "A model did not begin to answer");
        let next = match error.code() {
            "model_refused" => Next::GiveUp,
            "model_too_long" => {
                self.too_small = self.too_small.max(candidate.context_window);
                Next::Never
            }
            _ if may_repeat(&error) => Next::Again(error.retry_after()),
            _ => Next::Never,
        };
        self.error = Some(error);
        Err(next)
    }

    /// Noted, too: admins see why it was another that answered.
    fn skipped(
        &mut self,
        candidate: &Candidate,
        because: &str,
        error: LlmError,
        next: Next,
    ) -> Next {
        let (code, because) = (Failure::SKIPPED.to_owned(), Some(because.to_owned()));
        self.attempts.push(Attempt {
            model: candidate.id.clone(),
            provider: candidate.provider.clone(),
            error: Some(Failure { code, because, detail: error.to_string() }),
            status: None,
            started: Utc::now(),
            took: Duration::ZERO,
            usage: TokenUsage::default(),
        });
        self.error.get_or_insert(error);
        next
    }

    fn exhausted(self) -> Exhausted {
        let none = || LlmError::Request { detail: "no model is left to be asked".to_owned() };
        Exhausted { attempts: self.attempts, error: self.error.unwrap_or_else(none) }
    }
}

fn status(error: &LlmError) -> Option<u16> {
    match error {
        LlmError::Status(refusal) => Some(refusal.status),
        _ => None,
    }
}

fn count(candidate: &Candidate, outcome: &'static str) {
    metrics::counter!("docent_model_attempts_total", "provider" => candidate.provider.clone(),
        "model" => candidate.name.clone(), "outcome" => outcome)
    .increment(1);
}

/// Asks one model and looks at the beginning of its answer: a failure before that can be hidden.
async fn first(
    candidate: &Candidate,
    mut request: ChatRequest,
    usage: &mut TokenUsage,
) -> Result<(ChatStream, Headroom), LlmError> {
    request.model.clone_from(&candidate.name);
    request.max_output_tokens = request.max_output_tokens.min(candidate.max_output);
    if !candidate.capabilities.reasoning {
        request.effort = None; // which such a model refuses
    }
    let wants_words = wants_words(&request);
    let answering = candidate.model.ask(request).await?;
    let (mut events, headroom) = (answering.events, answering.headroom);
    let (mut seen, mut empty) = (Vec::new(), false);
    loop {
        let event = match events.next().await {
            Some(event) => event?,
            None if empty => return Err(LlmError::Empty),
            None => return Err(LlmError::Cut),
        };
        match &event {
            // Some providers count the prompt before they begin, and an empty answer has its price, too.
            ChatEvent::Usage(counted) => *usage = usage.updated(*counted),
            ChatEvent::Finished(FinishReason::Stop | FinishReason::Other) if wants_words => {
                empty = true;
            }
            _ => {
                seen.push(Ok(event));
                return Ok((stream::iter(seen).chain(events).boxed(), headroom));
            }
        }
        seen.push(Ok(event));
    }
}

/// To what its tools gave, a model may have nothing to add.
fn wants_words(request: &ChatRequest) -> bool {
    request.messages.last().is_none_or(|message| message.role != Role::Tool)
}

#[cfg(test)]
mod tests;
