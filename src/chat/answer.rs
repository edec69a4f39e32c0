//! Steps 2 to 4 of a turn: retrieve, prompt, stream into the log. No transaction is open here, and
//! nothing waits for a client.

use super::accepted::Refused;
use super::log::TurnLog;
use super::open::{LEAST_OUTPUT, Order};
use super::opened::Opened;
use super::part::{CitationData, NoticeData, Part};
use super::prompt;
use super::search::Search;
use super::service::ChatParts;
use super::speech::Speech;
use super::step::{Step, Steps};
use super::tool_step::most_embedded;
use crate::llm::router::{AfterCut, Exhausted};
use crate::llm::{ChatEvent, ChatRequest, ChatStream, FinishReason, LlmError, ToolChoice, tokens};
use crate::metering::{self, Ask, Grant};
use crate::retrieval::Passage;
use crate::types::DocumentId;
use futures_util::StreamExt;
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The longest a model may take for one answer.
const TOTAL: Duration = Duration::from_secs(300);
/// The most times that models are asked for one answer, one after the other.
const MAX_STEPS: usize = 8;

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum End {
    Complete,
    Stopped,
    /// A stable code, and a sentence for the user.
    Failed {
        code: String,
        message: String,
        /// Asking again may succeed.
        retryable: bool,
    },
}

impl End {
    /// Cut off by us: asking again will do.
    pub(super) fn interrupted(message: &str) -> Self {
        Self::Failed { code: "interrupted".into(), message: message.into(), retryable: true }
    }
}

/// All that is known about an answer when it ended.
pub(super) struct Answer {
    pub(super) end: End,
    /// Which of the route's candidates began to answer in this step.
    pub(super) candidate: Option<usize>,
    /// Why the model stopped; `None` when it did not come to that.
    pub(super) finish: Option<FinishReason>,
    pub(super) speech: Speech,
    pub(super) passages: Vec<Passage>,
    pub(super) embedding_tokens: u64,
    pub(super) embedding_exact: bool,
    pub(super) started: Instant,
    pub(super) first_token: Option<Duration>,
}

/// What ends an answer from outside.
#[derive(Clone)]
pub(super) struct Ends {
    /// The user's stop.
    pub(super) stop: CancellationToken,
    /// The server's shutdown, when its patience is over.
    pub(super) cut: CancellationToken,
}

impl Ends {
    /// Waits for one of them.
    pub(super) async fn any(&self) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = self.cut.cancelled() => {}
        }
    }
}

/// Runs until the answer ended, one way or another; never fails.
pub(super) async fn answer(
    parts: &ChatParts,
    order: &Order,
    (opened, search, started): (&Opened, Option<Search>, Instant),
    log: &Arc<TurnLog>,
    ends: &Ends,
    steps: &Steps,
) -> Answer {
    let mut answer = Answer {
        end: End::Complete,
        candidate: None,
        finish: None,
        speech: Speech::new(Arc::clone(log)),
        passages: Vec::new(),
        embedding_tokens: 0,
        embedding_exact: true,
        started,
        first_token: None,
    };
    let screen = || opened.rules.output(opened.billed_to);
    if let Some((text, thoughts)) = screen().zip(screen()) {
        answer.speech.screened(text, thoughts);
    }
    log.append(&Part::Start { message_id: opened.answer });
    let work = Work { parts, order, opened, log, steps };
    let end = tokio::select! {
        biased;
        () = ends.stop.cancelled() => End::Stopped,
        () = ends.cut.cancelled() => End::interrupted(
            "The server is restarting and had to cut this answer short. Ask again in a moment.",
        ),
        end = tokio::time::timeout(TOTAL, work.run(search, &mut answer)) => {
            end.unwrap_or_else(|_| failed("model_timeout", "The model took too long to answer.", true))
        }
    };
    // The stream was dropped with the work: the connection to the provider is closed by now.
    let written = tokens::count(&answer.speech.written);
    steps.change(|step| {
        step.output_tokens = written;
        step.failed = matches!(end, End::Failed { .. });
    });
    answer.end = end;
    answer.speech.close();
    answer
}

pub(super) fn failed(code: &str, message: impl Into<String>, retryable: bool) -> End {
    End::Failed { code: code.into(), message: message.into(), retryable }
}

/// What the work on an answer has at hand.
pub(super) struct Work<'a> {
    pub(super) parts: &'a ChatParts,
    pub(super) order: &'a Order,
    pub(super) opened: &'a Opened,
    pub(super) log: &'a TurnLog,
    pub(super) steps: &'a Steps,
}

impl Work<'_> {
    async fn run(&self, search: Option<Search>, answer: &mut Answer) -> End {
        if let Err(end) = self.prepare(search, answer).await {
            return end;
        }
        append_sources(self.log, &answer.passages, 0);
        // What the model is asked; and that, while another one goes on from what it wrote.
        let mut base = self.opened.request(&answer.passages);
        self.begin_decided(&mut base, answer).await;
        let (mut request, mut heard, mut from) = (base.clone(), 0, 0);
        for n in 0..MAX_STEPS {
            if n + 1 == MAX_STEPS && !self.opened.tools.is_empty() {
                request.tool_choice = ToolChoice::Never; // somebody has to say something at last
            }
            let error = match self.step(&request, from, answer).await {
                Ok(reason) => {
                    answer.speech.call();
                    let blocked = answer.speech.is_blocked();
                    let reason = if blocked { FinishReason::ContentFilter } else { reason };
                    answer.finish = Some(reason);
                    if n + 1 == MAX_STEPS || !self.is_ours(reason, &answer.speech) {
                        return End::Complete;
                    }
                    from = answer.candidate.unwrap_or(from);
                    if let Err(end) = self.use_tools(&mut request, from, answer).await {
                        return end;
                    }
                    (base, heard) = (request.clone(), answer.speech.text.len());
                    continue;
                }
                Err(error) => error,
            };
            tracing::warn!(turn.id = %self.order.turn, error.code = error.code(), %error, "The model failed");
            from = match self.successor(&error, n, answer) {
                Some(next) => {
                    let written = answer.speech.since(heard);
                    request = prompt::go_on(base.clone(), &written);
                    match self.goes_on(&mut request, next, answer).await {
                        true => next,
                        false => {
                            return failed(error.code(), error.public_message(), error.retryable());
                        }
                    }
                }
                None => return failed(error.code(), error.public_message(), error.retryable()),
            };
        }
        failed("model_failed", "The language model could not answer. Please try again.", true)
    }

    /// Finds the passages, where the question wants any.
    pub(super) async fn retrieve(
        &self,
        search: Option<Search>,
        answer: &mut Answer,
    ) -> Result<(), End> {
        let Some(search) = search else { return Ok(()) };
        match search.found().await {
            Ok(found) => {
                answer.passages = found.passages;
                answer.embedding_tokens = found.embedding_tokens;
                answer.embedding_exact = found.exact;
                Ok(())
            }
            Err(error) => {
                tracing::error!(turn.id = %self.order.turn, %error, "Retrieval failed");
                let message = "The documents could not be searched. Try again.";
                Err(failed("retrieval_failed", message, true))
            }
        }
    }

    /// Asks the candidates from `from` on, and writes down what the one that answers says.
    async fn step(
        &self,
        request: &ChatRequest,
        from: usize,
        answer: &mut Answer,
    ) -> Result<FinishReason, LlmError> {
        let route = &self.opened.route;
        let named =
            |n: usize| route.candidates.get(n).map(|it| (it.id.clone(), it.provider.clone()));
        let (model, provider) = named(from).unwrap_or_default();
        self.steps.begin(Step { model, provider, ..Step::default() });
        answer.candidate = None;
        // The prompt is counted while the provider reads it.
        let counted = async {
            let prompt_tokens = tokens::count_request(request);
            self.steps.change(|step| step.prompt_tokens = prompt_tokens);
        };
        let asked = self.parts.router.begin(route, from, request.clone());
        let begun = match join(asked, counted).await.0 {
            Ok(begun) => begun,
            Err(Exhausted { attempts, error }) => {
                self.steps.asked(attempts);
                return Err(error);
            }
        };
        answer.candidate = Some(begun.candidate);
        self.steps.asked(begun.attempts);
        if let Some(answering) = named(begun.candidate) {
            self.steps.change(|step| (step.model, step.provider) = answering);
        }
        let heard = self.listen(begun.events, answer).await;
        if let Err(error) = &heard {
            self.steps.change(|step| step.broke(error));
        }
        heard
    }

    async fn listen(
        &self,
        mut events: ChatStream,
        answer: &mut Answer,
    ) -> Result<FinishReason, LlmError> {
        let mut reason = FinishReason::Other;
        while let Some(event) = events.next().await {
            match event? {
                ChatEvent::Usage(usage) => {
                    self.steps.change(|step| step.usage = step.usage.updated(usage));
                }
                ChatEvent::Finished(why) => reason = why,
                event => {
                    if answer.speech.say(event) && answer.first_token.is_none() {
                        let waited = answer.started.elapsed();
                        metrics::histogram!("docent_turn_first_token_seconds").record(waited);
                        answer.first_token = Some(waited);
                    }
                    if answer.speech.is_blocked() || answer.speech.too_long() {
                        return Ok(FinishReason::Length); // what is dropped with the stream is not read
                    }
                }
            }
        }
        Ok(reason)
    }

    /// Who goes on with an answer that had begun: before that, the router has asked everybody already.
    fn successor(&self, error: &LlmError, n: usize, answer: &Answer) -> Option<usize> {
        let route = &self.opened.route;
        let next = answer.candidate? + 1;
        let goes_on = route.after_cut == AfterCut::Continue && error.retryable();
        (goes_on && n + 1 < MAX_STEPS && next < route.candidates.len()).then_some(next)
    }

    /// Prepares the next model to go on from what was written; false when a quota does not allow it, or
    /// nobody could go on from there.
    async fn goes_on(&self, request: &mut ChatRequest, next: usize, answer: &mut Answer) -> bool {
        if answer.speech.calls().next().is_some() {
            return false; // half a call is nothing to go on from
        }
        if let Err(error) = self.extend(request, next).await {
            tracing::info!(turn.id = %self.order.turn, %error, "No further step was reserved");
            return false;
        }
        let written = tokens::count(&answer.speech.written);
        self.steps.change(|step| (step.output_tokens, step.failed) = (written, true));
        answer.speech.next_step();
        self.notice("model_changed", "The model broke off; another one goes on from here.");
        true
    }

    /// Tells the reader something, with a code for programs.
    pub(super) fn notice(&self, code: &str, text: &str) {
        let data = NoticeData { code: code.into(), text: text.into() };
        self.log.append(&Part::DataNotice { data });
    }

    /// Reserves for one more step, and shortens its answer to what is left.
    pub(super) async fn extend(
        &self,
        request: &mut ChatRequest,
        from: usize,
    ) -> Result<(), Refused> {
        let models = self.opened.models(from);
        let ask = Ask {
            assistant: self.opened.billed_to,
            models: &models,
            embedding_model: "",
            input: i64::from(tokens::count_request(request)),
            output: i64::from(request.max_output_tokens),
            least_output: LEAST_OUTPUT,
            embedding: most_embedded(&self.opened.tools),
        };
        let grant = self.reserve(ask).await?;
        request.max_output_tokens = u32::try_from(grant.output).unwrap_or(u32::MAX);
        Ok(())
    }

    async fn reserve(&self, ask: Ask<'_>) -> Result<Grant, Refused> {
        let tenant = self.order.ctx.tenant;
        let mut tx = self.parts.db.tenant(tenant).await?;
        let grant = metering::extend(&mut tx, tenant, self.order.turn, ask).await?;
        tx.commit().await?;
        Ok(grant)
    }
}

/// The documents and citations of the passages from the one at `known` on.
pub(super) fn append_sources(log: &TurnLog, passages: &[Passage], known: usize) {
    let (before, new) = passages.split_at_checked(known).unwrap_or_default();
    let mut seen: Vec<DocumentId> = before.iter().map(|passage| passage.document).collect();
    for passage in new {
        if !seen.contains(&passage.document) {
            seen.push(passage.document);
            log.append(&Part::SourceDocument {
                source_id: passage.document,
                media_type: passage.media_type.clone(),
                title: passage.file_name.clone(),
                filename: passage.file_name.clone(),
            });
        }
    }
    for data in citations(passages).skip(known) {
        log.append(&Part::DataCitation { id: format!("cite-{}", data.index), data });
    }
}

/// The passages as citations, numbered as in the prompt.
pub(super) fn citations(passages: &[Passage]) -> impl Iterator<Item = CitationData> {
    (1..).zip(passages).map(|(index, passage)| CitationData {
        index,
        document_id: passage.document,
        file_name: passage.file_name.clone(),
        page: passage.page,
        page_end: passage.page_end,
        snippet: passage.snippet.clone(),
        score: passage.score,
    })
}
