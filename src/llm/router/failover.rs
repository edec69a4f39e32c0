//! Asking one candidate after the other until one begins to answer.

use super::attempt::{Attempt, Begun, Exhausted, Failure};
use super::route::{Candidate, Route};
use crate::llm::{ChatEvent, ChatRequest, ChatStream, LlmError, TokenUsage};
use chrono::Utc;
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

/// Asks models. Cheap to clone.
#[derive(Clone, Default)]
pub struct Router {}

impl Router {
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
        let mut attempts = Vec::new();
        let mut last = LlmError::Request { detail: "no model is left to be asked".to_owned() };
        for (candidate, model) in route.candidates.iter().enumerate().skip(from) {
            let (started, clock) = (Utc::now(), Instant::now());
            let mut usage = TokenUsage::default();
            let outcome = first(model, request.clone(), &mut usage).await;
            let (events, error) = match outcome {
                Ok(events) => (Some(events), None),
                Err(error) => (None, Some(error)),
            };
            attempts.push(Attempt {
                model: model.id.clone(),
                provider: model.provider.clone(),
                error: error.as_ref().map(Failure::from),
                status: error.as_ref().and_then(status),
                started,
                took: clock.elapsed(),
                usage,
            });
            if let Some(events) = events {
                return Ok(Begun { candidate, events, attempts });
            }
            last = error.unwrap_or(last);
        }
        Err(Exhausted { attempts, error: last })
    }
}

fn status(error: &LlmError) -> Option<u16> {
    match error {
        LlmError::Status(refusal) => Some(refusal.status),
        _ => None,
    }
}

/// Asks one model and looks at the beginning of its answer: a failure before that can be hidden.
async fn first(
    candidate: &Candidate,
    mut request: ChatRequest,
    usage: &mut TokenUsage,
) -> Result<ChatStream, LlmError> {
    request.model.clone_from(&candidate.name);
    request.max_output_tokens = request.max_output_tokens.min(candidate.max_output);
    let mut events = candidate.model.ask(request).await?.events;
    let mut seen = Vec::new();
    loop {
        let event = events.next().await.ok_or(LlmError::Cut)??;
        // Some providers count the prompt before they begin.
        let counted = match &event {
            ChatEvent::Usage(counted) => Some(*counted),
            _ => None,
        };
        seen.push(Ok(event));
        match counted {
            Some(counted) => *usage = usage.updated(counted),
            None => return Ok(stream::iter(seen).chain(events).boxed()),
        }
    }
}
