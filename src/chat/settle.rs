//! Step 5 of a turn: answer, citations, ledger, quotas and the end of the log, in one transaction.

use super::answer::{self, Answer, End};
use super::log::{encode, json_lines};
use super::open::Order;
use super::opened::Opened;
use super::part::{CitationData, ErrorData, FinishData, Part, UsageData};
use super::step::{Step, json, quantity};
use crate::llm::FinishReason;
use crate::metering::{self, Bill, Item, Prices, Source, StepBill};
use crate::store::citations::{self, Citation};
use crate::store::messages::NewMessage;
use crate::store::turns::{Ending, Turn};
use crate::store::{Conn, Db, DbError, conversations, segments};
use crate::types::{
    AssistantId, ConversationId, DocumentId, MessageId, Meter, Provenance, TenantId, TurnId, UserId,
};
use diesel::QueryResult;
use futures_util::join;
use serde::{Deserialize, Serialize};

impl End {
    /// The word in `turns.state`; `messages.status` uses the same.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
        }
    }

    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Failed { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// What a turn used: a request, where anything is billed, what its steps used, and what was embedded.
fn bills(answer: &Answer, steps: &[Step]) -> Vec<StepBill> {
    let mut bills: Vec<StepBill> = steps.iter().map(Step::bill).collect();
    let used = bills.iter().any(|step| !step.items.is_empty());
    if matches!(answer.end, End::Failed { .. }) && !used {
        return Vec::new();
    }
    if bills.is_empty() {
        bills.push(StepBill::default());
    }
    let Some(first) = bills.first_mut() else { return bills };
    first.items.insert(0, Item::exact(Meter::Requests, 1));
    if answer.embedding_tokens > 0 {
        let provenance =
            if answer.embedding_exact { Provenance::Exact } else { Provenance::Estimated };
        let quantity = quantity(answer.embedding_tokens);
        first.items.push(Item { meter: Meter::EmbeddingTokens, quantity, provenance });
    }
    bills
}

/// The last parts of a log: usage, where there is any, what an error means, and the terminal part.
pub(super) fn last_parts(end: &End, usage: Option<UsageData>) -> Vec<Part> {
    let mut parts: Vec<Part> = usage.map(|data| Part::DataUsage { data }).into_iter().collect();
    match end {
        End::Complete => parts.push(Part::Finish {}),
        End::Stopped => parts.push(Part::Abort {}),
        End::Failed { code, message, retryable } => {
            let data = ErrorData { code: code.clone(), retryable: *retryable };
            parts.push(Part::DataError { data });
            parts.push(Part::Error { error_text: message.clone() });
        }
    }
    parts
}

/// All that is settled, and nothing that only this process has: it can wait in a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Settlement {
    pub(super) tenant: TenantId,
    pub(super) turn: TurnId,
    user: UserId,
    conversation: ConversationId,
    question: MessageId,
    answer: MessageId,
    assistant: Option<AssistantId>,
    embedding_model: String,
    prices: Prices,
    end: End,
    finish: Option<FinishReason>,
    text: String,
    /// False: the client keeps the conversation.
    stored: bool,
    citations: Vec<CitationData>,
    steps: Vec<Step>,
    bills: Vec<StepBill>,
    first_token_ms: Option<i32>,
    latency_ms: i32,
    /// The first offset that is not written down yet, and the parts from there on as JSON lines.
    unwritten: (usize, String),
    /// What clients were told already: the log says the same then.
    told: Vec<Part>,
}

/// What a settlement leaves to do.
pub(super) struct Settled {
    /// The last parts of the log.
    pub(super) last: Vec<Part>,
    /// False when a document that the log quotes was deleted meanwhile.
    pub(super) keep_log: bool,
}

impl Settlement {
    /// Of a turn whose answer ended; `unwritten` is what the journal has not of its log.
    pub(super) fn new(
        (order, opened): (&Order, &Opened),
        answer: Answer,
        steps: Vec<Step>,
        unwritten: (usize, String),
    ) -> Self {
        Self {
            tenant: order.ctx.tenant,
            turn: order.turn,
            user: order.ctx.user,
            conversation: order.conversation,
            question: opened.question,
            answer: opened.answer,
            assistant: opened.billed_to,
            prices: opened.prices.clone(),
            embedding_model: opened.space.billed_as().to_owned(),
            citations: answer::citations(&answer.passages).collect(),
            bills: bills(&answer, &steps),
            steps,
            finish: answer.finish,
            stored: opened.given.is_none(),
            first_token_ms: answer.first_token.map(|waited| millis(waited.as_millis())),
            latency_ms: millis(answer.started.elapsed().as_millis()),
            end: answer.end,
            text: answer.speech.text,
            unwritten,
            told: Vec::new(),
        }
    }

    /// The end to tell clients when it cannot be settled yet: without what it cost.
    pub(super) fn tell(&mut self) -> Vec<Part> {
        self.told = self.last(None);
        self.told.clone()
    }

    /// Does it, once: `None` when somebody else closed the turn, or we did and were not told.
    pub(super) async fn commit(&self, db: &Db) -> Result<Option<Settled>, DbError> {
        let mut cited = self.citation_rows();
        let documents: Vec<DocumentId> = cited.iter().map(|row| row.document_id).collect();
        let first = async |conn: &Conn| {
            join!(
                Turn::lock_running(conn, self.tenant, self.turn),
                citations::hold(conn, self.tenant, &documents)
            )
        };
        let (mut tx, (turn, there)) = db.tenant_with(self.tenant, first).await?;
        let Some(turn) = turn? else {
            // Closed by estimate: what we know better is billed as an adjustment.
            metering::adjust(&mut tx, self.turn, &self.bill()).await?;
            tx.commit().await?;
            return Ok(None);
        };
        let there = there?;
        cited.retain(|row| there.contains(&row.document_id));
        let keep_log = cited.len() == documents.len();
        let bill = self.bill();
        let (said, quoted, closed, shown, cost) = join!(
            self.insert_answer(&tx),
            citations::insert(&tx, &cited),
            turn.close(&tx, self.ending(&turn)),
            self.show_answer(&tx, &turn),
            metering::settle_turn(&tx, turn.id, &bill),
        );
        said?;
        quoted?;
        closed?;
        shown?;
        let cost = cost?;
        let last = match self.told.as_slice() {
            [] => self.last(cost),
            told => told.to_vec(),
        };
        tx.commit_with(async |conn: &Conn| match keep_log {
            true => self.write_log(conn, &last).await,
            false => segments::delete(conn, self.tenant, turn.id).await,
        })
        .await?;
        Ok(Some(Settled { last, keep_log }))
    }

    async fn insert_answer(&self, conn: &Conn) -> QueryResult<()> {
        let message = NewMessage {
            tenant_id: self.tenant,
            id: self.answer,
            conversation_id: self.conversation,
            parent_id: Some(self.question),
            turn_id: self.turn,
            role: "assistant",
            status: self.end.state(),
            content: &self.text,
        };
        if self.stored { message.insert(conn).await } else { Ok(()) }
    }

    async fn show_answer(&self, conn: &Conn, turn: &Turn) -> QueryResult<()> {
        if self.stored { conversations::answered(conn, turn).await } else { Ok(()) }
    }

    fn ending<'a>(&'a self, turn: &'a Turn) -> Ending<'a> {
        let last = self.steps.last();
        Ending {
            state: self.end.state(),
            error_code: self.end.code(),
            first_token_ms: self.first_token_ms,
            latency_ms: self.latency_ms,
            provider: last.map_or(&turn.provider, |step| &step.provider),
            model: last.map_or(&turn.model, |step| &step.model),
            steps: json(&self.steps),
        }
    }

    /// The last parts of the log, with what it cost.
    fn last(&self, cost: Option<i64>) -> Vec<Part> {
        let items: Vec<Item> = self.items().copied().collect();
        let mut last = last_parts(&self.end, UsageData::of(&items, cost));
        if let (End::Complete, Some(reason)) = (&self.end, self.finish)
            && reason != FinishReason::Stop
        {
            last.insert(
                last.len().saturating_sub(1),
                Part::DataFinish { data: FinishData { reason } },
            );
        }
        last
    }

    fn items(&self) -> impl Iterator<Item = &Item> {
        self.bills.iter().flat_map(|bill| &bill.items)
    }

    /// What the models read and wrote.
    pub(super) fn tokens(&self) -> u64 {
        let chat = self.items().filter(|item| item.meter.is_of_chat());
        chat.map(|item| u64::try_from(item.quantity).unwrap_or(0)).sum()
    }

    fn bill(&self) -> Bill {
        Bill {
            tenant: self.tenant,
            user: self.user,
            assistant: self.assistant,
            source: Source::Turn(self.turn),
            embedding_model: Some(self.embedding_model.clone()),
            prices: self.prices.clone(),
            first_step: 0,
            steps: self.bills.clone(),
        }
    }

    fn citation_rows(&self) -> Vec<Citation> {
        self.citations.iter().cloned().map(|data| data.row(self.tenant, self.turn)).collect()
    }

    async fn write_log(&self, conn: &Conn, last: &[Part]) -> QueryResult<()> {
        let (offset, unwritten) = &self.unwritten;
        let lines = format!("{unwritten}{}", json_lines(last.iter().map(encode)));
        let offset = i32::try_from(*offset).unwrap_or(i32::MAX);
        segments::insert(conn, self.tenant, self.turn, offset, &lines).await
    }
}

fn millis(ms: u128) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}
