//! Turns of nodes that died: closed from what they left in the journal and in Redis, and billed as
//! estimated.

use super::answer::End;
use super::feed::ConversationEvent;
use super::log::TurnLog;
use super::part::{CitationData, Part, UsageData};
use super::replay::load;
use super::service::Core;
use super::settle::last_parts;
use crate::cluster::{Cluster, Run, Writer};
use crate::llm::tokens;
use crate::metering::{self, Bill, Item, Prices};
use crate::store::citations::{self, Citation};
use crate::store::messages::NewMessage;
use crate::store::prices::Price;
use crate::store::turns::{Ending, Turn};
use crate::store::{Conn, Db, DbError, conversations, nodes, segments};
use crate::types::{Meter, Provenance, TenantId, TurnId, UserId};
use bytes::Bytes;
use std::sync::Arc;

const BATCH: i64 = 100;

/// Closes the turns whose node is dead; returns how many.
///
/// # Errors
/// When the database cannot be asked which there are. One that cannot be closed is logged and tried
/// again at the next sweep.
pub(super) async fn close_orphans(core: &Core) -> Result<usize, DbError> {
    let mut tx = core.db.system().await?;
    let orphans = nodes::orphans(&mut tx, BATCH).await?;
    tx.commit().await?;
    let mut closed = 0;
    for (tenant, id) in orphans {
        match close(&core.db, &core.cluster, tenant, id).await {
            Ok(Some((user, event))) => {
                closed += 1;
                core.events.publish(tenant, user, &event);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(turn.id = %id, %error, "An orphaned turn could not be closed");
            }
        }
    }
    if closed > 0 {
        metrics::counter!("docent_recovered_turns_total").increment(closed as u64);
        tracing::warn!(turns = closed, "Closed turns of a node that died");
    }
    Ok(closed)
}

/// What a dead node's log says about an answer.
#[derive(Default)]
struct Remains {
    text: String,
    text_open: bool,
    citations: Vec<CitationData>,
    usage: Option<UsageData>,
    /// Clients were told this end, but it was not settled.
    told: Option<Part>,
}

impl Remains {
    fn of(log: &Arc<TurnLog>) -> Self {
        let mut remains = Self::default();
        let mut cursor = log.cursor(0);
        for part in std::iter::from_fn(|| cursor.take_ready()).flat_map(|batch| batch.parts) {
            match serde_json::from_slice(&part) {
                Ok(Part::TextStart { .. }) => remains.text_open = true,
                Ok(Part::TextEnd { .. }) => remains.text_open = false,
                Ok(Part::TextDelta { delta, .. }) => remains.text.push_str(&delta),
                Ok(Part::DataCitation { data, .. }) => remains.citations.push(data),
                Ok(Part::DataUsage { data }) => remains.usage = Some(data),
                Ok(part) if part.is_terminal() => remains.told = Some(part),
                _ => {}
            }
        }
        remains
    }

    fn end(&self) -> End {
        match self.told {
            Some(Part::Finish {}) => End::Complete,
            Some(Part::Abort {}) => End::Stopped,
            _ => End::interrupted("The server was interrupted while it answered. Ask again."),
        }
    }

    /// As clients were told, or as for a turn that was cut off: nothing before the first token,
    /// otherwise prompt and text.
    fn items(&self, prompt: Option<i32>) -> Vec<Item> {
        if self.text.is_empty() && self.usage.is_none() {
            return Vec::new();
        }
        let told = self.usage.as_ref();
        let provenance = told.map_or(Provenance::Estimated, |usage| usage.provenance);
        let item = |meter, quantity| Item { meter, quantity, provenance };
        let mut items = vec![Item::exact(Meter::Requests, 1)];
        match told {
            Some(told) => items.extend([
                item(Meter::InputTokens, told.input_tokens - told.cached_input_tokens),
                item(Meter::CachedInputTokens, told.cached_input_tokens),
                item(Meter::OutputTokens, told.output_tokens - told.reasoning_tokens),
                item(Meter::ReasoningTokens, told.reasoning_tokens),
            ]),
            None => items.extend([
                item(Meter::InputTokens, i64::from(prompt.unwrap_or(0))),
                item(Meter::OutputTokens, i64::from(tokens::count(&self.text))),
            ]),
        }
        let parts = [Meter::CachedInputTokens, Meter::ReasoningTokens];
        items.retain(|item| item.quantity != 0 || !parts.contains(&item.meter));
        items
    }
}

async fn close(
    db: &Db,
    cluster: &Cluster,
    tenant: TenantId,
    id: TurnId,
) -> Result<Option<(UserId, ConversationEvent)>, DbError> {
    // From here on a node that only seemed dead adds nothing. When Redis is away, the journal is
    // what there is.
    let runs = cluster.take_over(id).await.unwrap_or_default();
    let mut tx = db.tenant(tenant).await?;
    if !nodes::lock_orphan(&mut tx, tenant, id).await? {
        return Ok(None);
    }
    let Some(turn) = Turn::find(&mut tx, tenant, id).await? else { return Ok(None) };
    let log = TurnLog::new(id);
    load(&mut tx, tenant, &log).await?;
    let written = log.len();
    for run in &runs {
        log.copy(run.first(), &String::from_utf8_lossy(&run.lines));
    }
    let remains = Remains::of(&log);
    let end = remains.end();
    let keep_log = save(&mut tx, &turn, &remains, &end).await?;
    let items = remains.items(turn.prompt_tokens);
    let (chat, embedding) = Price::quoted(&mut tx, tenant, id).await?;
    let bill = Bill {
        tenant,
        user: turn.user_id,
        assistant: None, // the reservation says whose it was
        turn: Some(id),
        document: None,
        model: Some(turn.model.clone()),
        embedding_model: None,
        prices: Prices { chat, embedding },
        step: 0,
        items: items.clone(),
    };
    let cost = metering::settle_turn(&mut tx, id, &bill).await?;
    if log.is_empty() {
        log.append(&Part::Start { message_id: turn.answer_id });
    }
    if remains.text_open {
        log.append(&Part::TextEnd { id: Part::TEXT.into() });
    }
    log.append_all(&last_parts(&end, UsageData::of(&items, cost)));
    let (fresh, end_offset) = log.lines_from(written);
    let offset = i32::try_from(written).unwrap_or(i32::MAX);
    match keep_log {
        true => segments::insert(&mut tx, tenant, id, offset, &fresh).await?,
        false => segments::delete(&mut tx, tenant, id).await?,
    }
    tx.commit().await?;
    let lines = Bytes::from(fresh);
    let run = Run { turn: id, writer: Writer::Closer, end: end_offset, lines, last: true };
    if keep_log {
        // Readers elsewhere look into the database, too, though not at once.
        drop(cluster.append(&[run]).await);
    } else {
        cluster.forget(&[id]);
    }
    let event = ConversationEvent::TurnEnded {
        conversation_id: turn.conversation_id,
        turn_id: id,
        state: end.state().into(),
    };
    Ok(Some((turn.user_id, event)))
}

/// Returns whether the log may stay: not when a document that it quotes is gone.
async fn save(
    tx: &mut Conn,
    turn: &Turn,
    remains: &Remains,
    end: &End,
) -> diesel::QueryResult<bool> {
    let tenant = turn.tenant_id;
    NewMessage {
        tenant_id: tenant,
        id: turn.answer_id,
        conversation_id: turn.conversation_id,
        parent_id: Some(turn.question_id),
        turn_id: turn.id,
        role: "assistant",
        status: end.state(),
        content: &remains.text,
    }
    .insert(tx)
    .await?;
    let cited = remains.citations.iter().cloned();
    let rows: Vec<Citation> = cited.map(|data| data.row(tenant, turn.id)).collect();
    let keep_log = citations::insert(tx, &rows).await?;
    let elapsed = chrono::Utc::now().signed_duration_since(turn.created_at).num_milliseconds();
    let ending = Ending {
        state: end.state(),
        error_code: end.code(),
        first_token_ms: None,
        latency_ms: i32::try_from(elapsed.max(0)).unwrap_or(i32::MAX),
    };
    turn.close(tx, ending).await?;
    conversations::answered(tx, turn).await?;
    Ok(keep_log)
}
