//! Steps 2 to 4 of a turn: retrieve, prompt, stream into the log. No transaction is open here, and
//! nothing waits for a client.

use super::log::TurnLog;
use super::open::{Opened, Order};
use super::part::{CitationData, Part};
use super::service::ChatParts;
use super::{history, prompt};
use crate::llm::{ChatEvent, ChatRequest, ChatStream, LlmError, TokenUsage, tokens};
use crate::retrieval::Passage;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// The longest a model may take for one answer.
const TOTAL: Duration = Duration::from_secs(300);
/// The most text an answer may have, whatever the provider sends.
const MAX_BYTES: usize = 1 << 20;

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
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) end: End,
    pub(super) text: String,
    pub(super) passages: Vec<Passage>,
    pub(super) usage: TokenUsage,
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

/// Runs until the answer ended, one way or another; never fails.
pub(super) async fn answer(
    parts: &ChatParts,
    order: &Order,
    opened: &Opened,
    log: &TurnLog,
    ends: &Ends,
    prompt_tokens: &AtomicU32,
) -> Answer {
    let mut answer = Answer {
        end: End::Complete,
        text: String::new(),
        passages: Vec::new(),
        usage: TokenUsage::default(),
        embedding_tokens: 0,
        embedding_exact: true,
        started: Instant::now(),
        first_token: None,
    };
    log.append(&Part::Start { message_id: opened.answer });
    let work = run(parts, order, opened, log, prompt_tokens, &mut answer);
    let end = tokio::select! {
        biased;
        () = ends.stop.cancelled() => End::Stopped,
        () = ends.cut.cancelled() => End::interrupted(
            "The server is restarting and had to cut this answer short. Ask again in a moment.",
        ),
        end = tokio::time::timeout(TOTAL, work) => {
            end.unwrap_or_else(|_| failed("model_timeout", "The model took too long to answer.", true))
        }
    };
    // The stream was dropped with `work`: the connection to the provider is closed by now.
    answer.end = end;
    if answer.first_token.is_some() {
        log.append(&Part::TextEnd { id: Part::TEXT.into() });
    }
    answer
}

fn failed(code: &str, message: impl Into<String>, retryable: bool) -> End {
    End::Failed { code: code.into(), message: message.into(), retryable }
}

async fn run(
    parts: &ChatParts,
    order: &Order,
    opened: &Opened,
    log: &TurnLog,
    prompt_tokens: &AtomicU32,
    answer: &mut Answer,
) -> End {
    let question = opened.text.as_str();
    let search = history::search_text(question, &opened.history);
    let (tenant, collections) = (order.ctx.tenant, opened.collections.as_slice());
    match parts.retriever.retrieve(tenant, &search, prompt::PASSAGE_BUDGET, collections).await {
        Ok(found) => {
            answer.passages = found.passages;
            answer.embedding_tokens = found.embedding_tokens;
            answer.embedding_exact = found.exact;
        }
        Err(error) => {
            tracing::error!(turn.id = %order.turn, %error, "Retrieval failed");
            let message = "The documents could not be searched. Try again.";
            return failed("retrieval_failed", message, true);
        }
    }
    append_sources(log, &answer.passages);
    let messages = prompt::build(opened.manner(), &answer.passages, &opened.history, question);
    prompt_tokens.store(tokens::count_messages(&messages), Ordering::Relaxed);
    let mut request = ChatRequest::new(opened.model.as_str(), messages, opened.max_output);
    request.sampling.temperature = opened.temperature;
    match parts.model.ask(request).await {
        Ok(answering) => match relay(answering.events, log, answer).await {
            Ok(()) => End::Complete,
            Err(error) => upstream_failed(order, &error),
        },
        Err(error) => upstream_failed(order, &error),
    }
}

fn upstream_failed(order: &Order, error: &LlmError) -> End {
    tracing::warn!(turn.id = %order.turn, error.code = error.code(), %error, "The model failed");
    failed(error.code(), error.public_message(), error.retryable())
}

fn append_sources(log: &TurnLog, passages: &[Passage]) {
    let mut seen = Vec::new();
    for passage in passages {
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
    for data in citations(passages) {
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

async fn relay(mut stream: ChatStream, log: &TurnLog, answer: &mut Answer) -> Result<(), LlmError> {
    while let Some(event) = stream.next().await {
        match event? {
            ChatEvent::Text(text) => {
                // PostgreSQL's text cannot hold NUL, and what is stored is what was streamed.
                let text = text.replace('\0', "");
                if text.is_empty() {
                    continue;
                }
                if answer.first_token.is_none() {
                    let waited = answer.started.elapsed();
                    metrics::histogram!("docent_turn_first_token_seconds").record(waited);
                    answer.first_token = Some(waited);
                    log.append(&Part::TextStart { id: Part::TEXT.into() });
                }
                answer.text.push_str(&text);
                log.append(&Part::delta(text));
                if answer.text.len() > MAX_BYTES {
                    return Ok(()); // long enough: what is dropped with the stream is not read
                }
            }
            ChatEvent::Usage(usage) => {
                answer.usage = answer.usage.updated(usage);
            }
            // Nothing asks for tools yet, and thoughts are not shown.
            ChatEvent::Finished(_)
            | ChatEvent::Reasoning { .. }
            | ChatEvent::ToolBegin { .. }
            | ChatEvent::ToolInput { .. } => {}
        }
    }
    Ok(())
}
