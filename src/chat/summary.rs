//! Summing up what no prompt has room for any more: after a turn, in the background, by a fast model.
//!
//! A summary stands at the message that it reaches, so it serves every branch that passes through it and no
//! other. It is billed as a request of its own. Whatever goes wrong, the conversation goes on without it.

use super::history::{self, Due};
use super::open::Order;
use super::opened::Opened;
use super::prompt;
use super::service::Core;
use super::step::Step;
use crate::llm::router::{Exhausted, Route};
use crate::llm::{ChatEvent, ChatRequest, ChatStream, LlmError, tokens};
use crate::metering::{self, Ask, Bill, Prices, ReserveError, Source};
use crate::store::summaries::{self, Remembered};
use crate::store::{DbError, messages::Message};
use crate::types::{AssistantId, ConversationId, Ctx, MessageId};
use futures_util::StreamExt;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Summaries that are written at once on this node. Full: the next turn of the conversation tries again.
const AT_ONCE: usize = 8;
/// The most tokens of one.
const LONGEST: u32 = 400;
/// The most tokens of messages that one is made from.
const MOST: u32 = 8_000;
/// The most characters of a message that are read.
const READ: usize = 4_000;
/// How long a model may take for one.
const PATIENCE: Duration = Duration::from_secs(60);

/// The conversations that are summed up right now.
#[derive(Default)]
pub(super) struct Summaries(Mutex<HashSet<ConversationId>>);

impl Summaries {
    fn begin(&self, conversation: ConversationId) -> bool {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.len() < AT_ONCE && running.insert(conversation)
    }

    fn end(&self, conversation: ConversationId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&conversation);
    }
}

/// True when the conversation does not fit a prompt any more, now that this was answered.
pub(super) fn is_due(core: &Core, opened: &Opened, answer: &str) -> bool {
    let budget = history::budget(&opened.route);
    let ours = opened.given.is_none() && opened.billed_to.is_some() && core.settings.summaries;
    ours && opened.history.is_full(&opened.text, answer, budget)
}

/// Sums up in the background; nothing waits for it.
pub(super) fn begin(core: &Arc<Core>, order: &Order, opened: &Opened) {
    let conversation = order.conversation;
    if !core.summaries.begin(conversation) {
        return;
    }
    let work = Work {
        core: Arc::clone(core),
        ctx: order.ctx,
        assistant: opened.billed_to,
        leaf: opened.answer,
        own: Arc::clone(&opened.route),
    };
    core.tasks.spawn("summary", async move {
        let outcome = match work.run().await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(%error, "A conversation could not be summed up");
                "failed"
            }
        };
        metrics::counter!("docent_summaries_total", "outcome" => outcome).increment(1);
        work.core.summaries.end(conversation);
    });
}

struct Work {
    core: Arc<Core>,
    ctx: Ctx,
    assistant: Option<AssistantId>,
    /// The answer that was given last.
    leaf: MessageId,
    /// What answers here, in case there is no fast route.
    own: Arc<Route>,
}

impl Work {
    async fn run(&self) -> Result<&'static str, DbError> {
        let mut tx = self.core.db.tenant(self.ctx.tenant).await?;
        let branch =
            Remembered::branch(&tx, self.ctx.tenant, self.leaf, history::LOOK_BACK).await?;
        let Some(due) = history::due(&branch, history::budget(&self.own)) else {
            return Ok("not_due");
        };
        let fast = self.core.catalogue.resolve_in(&mut tx, self.ctx.tenant, Some("fast")).await;
        let route = fast.unwrap_or_else(|_| Arc::clone(&self.own));
        let room = MOST.min(history::window(&route) / 2);
        let request = ChatRequest::new("", prompt::sum_up(due.summary, &said(&due, room)), LONGEST);
        let models: Vec<String> = route.candidates.iter().map(|it| it.id.clone()).collect();
        let ask = Ask {
            assistant: self.assistant,
            models: &models,
            embedding_model: "",
            input: i64::from(tokens::count_request(&request)),
            output: i64::from(LONGEST),
            least_output: i64::from(LONGEST),
            embedding: 0,
        };
        let prices = match metering::quote(&tx, self.ctx, ask).await {
            Ok(grant) => grant.prices,
            Err(ReserveError::Exceeded(_) | ReserveError::Unpriced) => return Ok("quota"),
            Err(ReserveError::Query(error)) => return Err(error.into()),
        };
        drop(tx); // it was asked, and nothing is held
        let (step, summary) = self.ask(&route, request).await;
        self.bill(step, prices).await?;
        let Some(summary) = summary else { return Ok("failed") };
        let mut tx = self.core.db.tenant(self.ctx.tenant).await?;
        summaries::insert(&mut tx, self.ctx.tenant, due.until, &summary).await?;
        tx.commit().await?;
        Ok("written")
    }

    /// What the model used, and what it wrote when it came to an end.
    async fn ask(&self, route: &Route, request: ChatRequest) -> (Step, Option<String>) {
        let prompt_tokens = tokens::count_request(&request);
        let mut step = Step { prompt_tokens, ..Step::default() };
        let mut written = String::new();
        let work = async {
            let begun = self.core.router.begin(route, 0, request).await;
            let (candidate, attempts) = match &begun {
                Ok(begun) => (Some(begun.candidate), &begun.attempts),
                Err(Exhausted { attempts, .. }) => (None, attempts),
            };
            let last = attempts.last();
            let named = candidate.and_then(|n| route.candidates.get(n)).map(|it| it.id.clone());
            step.model = named.or_else(|| last.map(|last| last.model.clone())).unwrap_or_default();
            match begun {
                Ok(begun) => listen(begun.events, &mut step, &mut written).await,
                Err(Exhausted { error, attempts }) => {
                    step.usage = attempts.last().map(|last| last.usage).unwrap_or_default();
                    Err(error)
                }
            }
        };
        let closing = self.core.tasks.closing();
        let ended = closing.run_until_cancelled(tokio::time::timeout(PATIENCE, work)).await;
        step.output_tokens = tokens::count(&written);
        step.failed = !matches!(ended, Some(Ok(Ok(()))));
        if let Some(Ok(Err(error))) = ended {
            tracing::info!(%error, "No model summed up a conversation");
        }
        let summary = written.replace('\0', "").trim().to_owned();
        let whole = !step.failed && !summary.is_empty();
        (step, whole.then_some(summary))
    }

    async fn bill(&self, step: Step, prices: Prices) -> Result<(), DbError> {
        let step = step.bill();
        if step.items.is_empty() {
            return Ok(());
        }
        let bill = Bill {
            tenant: self.ctx.tenant,
            user: self.ctx.user,
            assistant: self.assistant,
            source: Source::Request(Uuid::now_v7()),
            embedding_model: None,
            prices,
            first_step: 0,
            steps: vec![step],
        };
        let mut tx = self.core.db.tenant(self.ctx.tenant).await?;
        metering::bill_used(&mut tx, &bill).await?;
        tx.commit().await
    }
}

async fn listen(
    mut events: ChatStream,
    step: &mut Step,
    written: &mut String,
) -> Result<(), LlmError> {
    while let Some(event) = events.next().await {
        match event? {
            ChatEvent::Text(text) => written.push_str(&text),
            ChatEvent::Usage(usage) => step.usage = step.usage.updated(usage),
            _ => {}
        }
    }
    Ok(())
}

/// What was said, as far as one summary takes it up: the newest of it.
fn said(due: &Due<'_>, room: u32) -> String {
    let mut left = room;
    let mut lines: Vec<String> = Vec::new();
    for Message { role, content, .. } in due.messages.iter().rev().copied() {
        let who = if role == "user" { "User" } else { "Assistant" };
        let line = format!("{who}: {}", content.chars().take(READ).collect::<String>());
        let cost = tokens::count(&line);
        if cost > left {
            break;
        }
        left -= cost;
        if !content.is_empty() {
            lines.push(line);
        }
    }
    lines.reverse();
    lines.join("\n\n")
}
