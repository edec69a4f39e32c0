//! Turns of nodes that died: closed from what they left in the journal and in Redis, and billed as
//! estimated.

use super::answer::End;
use super::feed::ConversationEvent;
use super::log::TurnLog;
use super::part::{CitationData, Part, UsageData};
use super::replay::load;
use super::service::Core;
use super::settle::last_parts;
use super::step::{Step, json};
use crate::cluster::{Cluster, Run, Writer};
use crate::llm::tokens;
use crate::metering::{self, Bill, Item, Prices, Source, StepBill};
use crate::store::citations::{self, Citation};
use crate::store::messages::NewMessage;
use crate::store::prices::Price;
use crate::store::turns::{Ending, Turn};
use crate::store::{Conn, Db, DbError, conversations, nodes, segments};
use crate::types::{DocumentId, Meter, TenantId, TurnId, UserId};
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
    let orphans = nodes::orphans(&mut tx, core.node, BATCH).await?;
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
    /// What the model of the last step wrote: text, thoughts and calls.
    written: String,
    /// The end of the block that was open.
    open: Option<Part>,
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
            if let Ok(part) = serde_json::from_slice(&part) {
                remains.add(part);
            }
        }
        remains
    }

    fn add(&mut self, part: Part) {
        match part {
            Part::TextStart { id } => self.open = Some(Part::TextEnd { id }),
            Part::ReasoningStart { id } => self.open = Some(Part::ReasoningEnd { id }),
            Part::TextEnd { .. } | Part::ReasoningEnd { .. } => self.open = None,
            Part::TextDelta { delta, .. } => {
                self.written.push_str(&delta);
                self.text.push_str(&delta);
            }
            Part::ReasoningDelta { delta, .. } => self.written.push_str(&delta),
            Part::ToolInputStart { tool_name, .. } => self.written.push_str(&tool_name),
            Part::ToolInputDelta { input_text_delta, .. } => {
                self.written.push_str(&input_text_delta);
            }
            Part::StartStep {} => self.written.clear(),
            Part::DataCitation { data, .. } => self.citations.push(data),
            Part::DataUsage { data } => self.usage = Some(data),
            part if part.is_terminal() => self.told = Some(part),
            _ => {}
        }
    }

    fn end(&self) -> End {
        match self.told {
            Some(Part::Finish {}) => End::Complete,
            Some(Part::Abort {}) => End::Stopped,
            _ => End::interrupted("The server was interrupted while it answered. Ask again."),
        }
    }

    /// The steps as the turn's row has them, the last one with what the log knows of it.
    fn steps(&self, turn: &Turn) -> Vec<Step> {
        let mut steps: Vec<Step> = serde_json::from_value(turn.steps.clone()).unwrap_or_default();
        if steps.is_empty() {
            // It had not been written down, or was begun by the last release.
            let prompt_tokens = turn.prompt_tokens.and_then(|n| u32::try_from(n).ok());
            steps.push(Step {
                model: turn.model.clone(),
                provider: turn.provider.clone(),
                prompt_tokens: prompt_tokens.unwrap_or_default(),
                ..Step::default()
            });
        }
        if let Some(last) = steps.last_mut() {
            last.output_tokens = last.output_tokens.max(tokens::count(&self.written));
        }
        steps
    }

    /// As clients were told, or as for a turn that was cut off: nothing before the first token,
    /// otherwise prompts and what was written.
    fn bills(&self, steps: &[Step]) -> Vec<StepBill> {
        let request = Item::exact(Meter::Requests, 1);
        if let (Some(told), Some(last)) = (&self.usage, steps.last()) {
            let item = |meter, quantity| Item { meter, quantity, provenance: told.provenance };
            let mut items = vec![
                request,
                item(Meter::InputTokens, told.input_tokens - told.cached_input_tokens),
                item(Meter::CachedInputTokens, told.cached_input_tokens),
                item(Meter::OutputTokens, told.output_tokens - told.reasoning_tokens),
                item(Meter::ReasoningTokens, told.reasoning_tokens),
            ];
            let parts = [Meter::CachedInputTokens, Meter::ReasoningTokens];
            items.retain(|item| item.quantity != 0 || !parts.contains(&item.meter));
            return vec![StepBill { model: Some(last.model.clone()), items }];
        }
        let written = |step: &Step| step.output_tokens > 0;
        if !steps.iter().any(written) {
            return Vec::new();
        }
        let mut bills: Vec<StepBill> = steps.iter().map(Step::bill).collect();
        if let Some(first) = bills.first_mut() {
            first.items.insert(0, request);
        }
        bills
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
    let steps = remains.steps(&turn);
    let keep_log = save(&mut tx, &turn, &remains, &end, &steps).await?;
    let bills = remains.bills(&steps);
    let items: Vec<Item> = bills.iter().flat_map(|bill| bill.items.clone()).collect();
    let (chat, embedding) = Price::quoted(&mut tx, tenant, id).await?;
    let bill = Bill {
        tenant,
        user: turn.user_id,
        assistant: None, // the reservation says whose it was
        source: Source::Turn(id),
        embedding_model: None,
        prices: Prices { chat, embedding },
        first_step: 0,
        steps: bills,
    };
    let cost = metering::settle_turn(&tx, id, &bill).await?;
    if log.is_empty() {
        log.append(&Part::Start { message_id: turn.answer_id });
    }
    if let Some(end_of_block) = &remains.open {
        log.append(end_of_block);
    }
    log.append_all(&last_parts(&end, UsageData::of(&items, cost)));
    let (fresh, end_offset) = log.lines_from(written);
    let offset = i32::try_from(written).unwrap_or(i32::MAX);
    match keep_log {
        true => segments::insert(&tx, tenant, id, offset, &fresh).await?,
        false => segments::delete(&tx, tenant, id).await?,
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
    steps: &[Step],
) -> diesel::QueryResult<bool> {
    let tenant = turn.tenant_id;
    let stored = conversations::is_kept(tx, tenant, turn.conversation_id).await?;
    let message = NewMessage {
        tenant_id: tenant,
        id: turn.answer_id,
        conversation_id: turn.conversation_id,
        parent_id: Some(turn.question_id),
        turn_id: turn.id,
        role: "assistant",
        status: end.state(),
        content: &remains.text,
    };
    if stored {
        message.insert(tx).await?;
    }
    let cited = remains.citations.iter().cloned();
    let mut rows: Vec<Citation> = cited.map(|data| data.row(tenant, turn.id)).collect();
    let documents: Vec<DocumentId> = rows.iter().map(|row| row.document_id).collect();
    let there = citations::hold(tx, tenant, &documents).await?;
    rows.retain(|row| there.contains(&row.document_id));
    citations::insert(tx, &rows).await?;
    let keep_log = rows.len() == documents.len();
    let elapsed = chrono::Utc::now().signed_duration_since(turn.created_at).num_milliseconds();
    let ending = Ending {
        state: end.state(),
        error_code: end.code(),
        first_token_ms: None,
        latency_ms: i32::try_from(elapsed.max(0)).unwrap_or(i32::MAX),
        provider: steps.last().map_or(&turn.provider, |step| &step.provider),
        model: steps.last().map_or(&turn.model, |step| &step.model),
        steps: json(steps),
    };
    turn.close(tx, ending).await?;
    if stored {
        conversations::answered(tx, turn).await?;
    }
    Ok(keep_log)
}
