//! Step 5 of a turn: answer, citations, ledger, quotas and the end of the log, in one transaction.

use super::answer::{Answer, End, citations};
use super::log::{encode, json_lines};
use super::open::{Opened, Order};
use super::part::{Part, UsageData};
use crate::llm::tokens;
use crate::metering::{self, Bill, Item};
use crate::store::citations::{self as citation_rows, Citation};
use crate::store::messages::NewMessage;
use crate::store::turns::{Ending, Turn};
use crate::store::{Conn, Db, DbError, conversations, segments};
use crate::types::{Meter, Provenance, TurnId};
use bytes::Bytes;
use diesel::QueryResult;

impl End {
    /// The word in `turns.state`; `messages.status` uses the same.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
        }
    }

    fn terminal(&self) -> Part {
        match self {
            Self::Complete => Part::Finish {},
            Self::Stopped => Part::Abort {},
            Self::Failed { message, .. } => Part::Error { error_text: message.clone() },
        }
    }

    fn code(&self) -> Option<&str> {
        match self {
            Self::Failed { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// What a turn used, by the published rules: an answer is billed with its prompt; a stop bills the
/// prompt and what was produced; a failure before the first token bills nothing but what the
/// provider reported. `prompt` is our own count, 0 when the model was never asked.
pub(super) fn items(answer: &Answer, prompt: u32) -> Vec<Item> {
    let produced = answer.first_token.is_some();
    let reported = answer.usage.input.is_some() || answer.usage.output.is_some();
    if matches!(answer.end, End::Failed { .. }) && !produced && !reported {
        return Vec::new();
    }
    let quantity = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let item = |meter, said: Option<u64>, counted: u32| match said {
        Some(n) => Item::exact(meter, quantity(n)),
        None => Item { meter, quantity: i64::from(counted), provenance: Provenance::Estimated },
    };
    let mut items = vec![Item::exact(Meter::Requests, 1)];
    if prompt > 0 {
        items.push(item(Meter::InputTokens, answer.usage.input, prompt));
        let counted = tokens::count(&answer.text);
        items.push(item(Meter::OutputTokens, answer.usage.output, counted));
    }
    if answer.embedding_tokens > 0 {
        let provenance =
            if answer.embedding_exact { Provenance::Exact } else { Provenance::Estimated };
        let quantity = quantity(answer.embedding_tokens);
        items.push(Item { meter: Meter::EmbeddingTokens, quantity, provenance });
    }
    items
}

/// What the client is told about it.
pub(super) fn usage(items: &[Item], cost_nano_usd: Option<i64>) -> Option<UsageData> {
    let of = |meter| items.iter().find(|item| item.meter == meter);
    let (input, output) = (of(Meter::InputTokens)?, of(Meter::OutputTokens)?);
    let exact = [input, output].iter().all(|item| item.provenance == Provenance::Exact);
    Some(UsageData {
        input_tokens: input.quantity,
        output_tokens: output.quantity,
        provenance: if exact { Provenance::Exact } else { Provenance::Estimated },
        cost_nano_usd,
    })
}

/// The last parts of a log: usage, where there is any, and the terminal part.
pub(super) fn last_parts(end: &End, usage: Option<UsageData>) -> Vec<Part> {
    let usage = usage.map(|data| Part::DataUsage { data });
    usage.into_iter().chain([end.terminal()]).collect()
}

/// What is settled.
pub(super) struct Settlement<'a> {
    pub(super) order: &'a Order,
    pub(super) opened: &'a Opened,
    pub(super) answer: &'a Answer,
    pub(super) items: &'a [Item],
    /// What embedded the question.
    pub(super) embedding_model: &'a str,
    /// Parts of the log that are not written down yet, and the offset of the first.
    pub(super) unwritten: (usize, Vec<Bytes>),
}

/// What a settlement leaves to do.
pub(super) struct Settled {
    /// The last parts of the log.
    pub(super) last: Vec<Part>,
    /// False when a document that the log quotes was deleted meanwhile.
    pub(super) keep_log: bool,
}

impl Settlement<'_> {
    /// Does it, once: `None` when somebody else closed the turn.
    pub(super) async fn commit(&self, db: &Db) -> Result<Option<Settled>, DbError> {
        let (ctx, answer) = (self.order.ctx, self.answer);
        let mut tx = db.tenant(ctx.tenant).await?;
        let Some(turn) = Turn::lock_running(&mut tx, ctx.tenant, self.order.turn).await? else {
            return Ok(None);
        };
        let message = NewMessage {
            tenant_id: ctx.tenant,
            id: self.opened.answer,
            conversation_id: self.order.conversation,
            parent_id: Some(self.opened.question),
            turn_id: turn.id,
            role: "assistant",
            status: answer.end.state(),
            content: &answer.text,
        };
        message.insert(&mut tx).await?;
        let keep_log = citation_rows::insert(&mut tx, &self.citations(turn.id)).await?;
        let ending = Ending {
            state: answer.end.state(),
            error_code: answer.end.code(),
            first_token_ms: answer.first_token.map(|waited| millis(waited.as_millis())),
            latency_ms: millis(answer.started.elapsed().as_millis()),
        };
        turn.close(&mut tx, ending).await?;
        conversations::answered(&mut tx, &turn).await?;
        let cost = metering::settle_turn(&mut tx, turn.id, &self.bill()).await?;
        let last = last_parts(&answer.end, usage(self.items, cost));
        match keep_log {
            true => self.write_log(&mut tx, &last).await?,
            false => segments::delete(&mut tx, ctx.tenant, turn.id).await?,
        }
        tx.commit().await?;
        Ok(Some(Settled { last, keep_log }))
    }

    fn bill(&self) -> Bill {
        Bill {
            tenant: self.order.ctx.tenant,
            user: self.order.ctx.user,
            turn: Some(self.order.turn),
            document: None,
            model: Some(self.opened.model.clone()),
            embedding_model: Some(self.embedding_model.to_owned()),
            items: self.items.to_vec(),
        }
    }

    fn citations(&self, turn: TurnId) -> Vec<Citation> {
        let tenant = self.order.ctx.tenant;
        citations(&self.answer.passages).map(|data| data.row(tenant, turn)).collect()
    }

    async fn write_log(&self, tx: &mut Conn, last: &[Part]) -> QueryResult<()> {
        let (offset, parts) = &self.unwritten;
        let lines = json_lines(parts.iter().cloned().chain(last.iter().map(encode)));
        let offset = i32::try_from(*offset).unwrap_or(i32::MAX);
        segments::insert(tx, self.order.ctx.tenant, self.order.turn, offset, &lines).await
    }
}

fn millis(ms: u128) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}
