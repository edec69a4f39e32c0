//! Turns of nodes that died: closed from their journal and billed as estimated.

use super::answer::End;
use super::feed::{ConversationEvent, Feed};
use super::log::{encode, json_lines};
use super::part::{Part, UsageData};
use super::settle::{last_parts, usage};
use crate::llm::tokens;
use crate::metering::{self, Bill, Item};
use crate::store::citations::{self, Citation};
use crate::store::messages::NewMessage;
use crate::store::turns::{Ending, Turn};
use crate::store::{Conn, Db, DbError, conversations, nodes, segments};
use crate::types::{Meter, Provenance, TenantId, TurnId};

const BATCH: i64 = 100;

/// Closes the turns whose lease ran out; returns how many.
///
/// # Errors
/// When the database cannot be asked which there are. One that cannot be closed is logged and tried
/// again at the next sweep.
pub async fn close_orphans(db: &Db, events: &Feed) -> Result<usize, DbError> {
    let mut tx = db.system().await?;
    let orphans = nodes::orphans(&mut tx, BATCH).await?;
    tx.commit().await?;
    let mut closed = 0;
    for (tenant, id) in orphans {
        match close(db, tenant, id).await {
            Ok(Some(turn)) => {
                closed += 1;
                let event = ConversationEvent::TurnEnded {
                    conversation_id: turn.conversation_id,
                    turn_id: id,
                    state: "failed".into(),
                };
                events.publish(tenant, turn.user_id, &event);
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

/// What a dead node's journal says about an answer.
#[derive(Default)]
struct Remains {
    next_offset: usize,
    text: String,
    text_open: bool,
    citations: Vec<super::part::CitationData>,
    usage: Option<UsageData>,
}

impl Remains {
    async fn load(tx: &mut Conn, tenant: TenantId, turn: TurnId) -> diesel::QueryResult<Self> {
        let mut remains = Self::default();
        for segment in segments::load(tx, tenant, turn, 0).await? {
            if usize::try_from(segment.first_offset).ok() != Some(remains.next_offset) {
                break;
            }
            for line in segment.parts.lines() {
                remains.next_offset += 1;
                match serde_json::from_str(line) {
                    Ok(Part::TextStart { .. }) => remains.text_open = true,
                    Ok(Part::TextEnd { .. }) => remains.text_open = false,
                    Ok(Part::TextDelta { delta, .. }) => remains.text.push_str(&delta),
                    Ok(Part::DataCitation { data, .. }) => remains.citations.push(data),
                    Ok(Part::DataUsage { data }) => remains.usage = Some(data),
                    _ => {}
                }
            }
        }
        Ok(remains)
    }

    /// As for a turn that was cut off: nothing before the first token, otherwise prompt and text.
    fn items(&self, prompt: Option<i32>) -> Vec<Item> {
        if self.text.is_empty() {
            return Vec::new();
        }
        let estimated =
            |meter, quantity| Item { meter, quantity, provenance: Provenance::Estimated };
        vec![
            Item::exact(Meter::Requests, 1),
            estimated(Meter::InputTokens, i64::from(prompt.unwrap_or(0))),
            estimated(Meter::OutputTokens, i64::from(tokens::count(&self.text))),
        ]
    }
}

/// Returns the turn as it was, unless somebody else has closed it.
async fn close(db: &Db, tenant: TenantId, id: TurnId) -> Result<Option<Turn>, DbError> {
    let mut tx = db.tenant(tenant).await?;
    if !nodes::lock_orphan(&mut tx, tenant, id).await? {
        return Ok(None);
    }
    let Some(turn) = Turn::find(&mut tx, tenant, id).await? else { return Ok(None) };
    let remains = Remains::load(&mut tx, tenant, id).await?;
    let end = End::Failed {
        code: "interrupted",
        message: "The server was interrupted while it answered. Ask again.".into(),
    };
    let keep_log = save(&mut tx, &turn, &remains, &end).await?;
    let items = remains.items(turn.prompt_tokens);
    let bill = Bill {
        tenant,
        user: turn.user_id,
        turn: Some(id),
        document: None,
        model: Some(turn.model.clone()),
        embedding_model: None,
        items: items.clone(),
    };
    let cost = metering::settle_turn(&mut tx, id, &bill).await?;
    let mut last = Vec::new();
    if remains.next_offset == 0 {
        last.push(Part::Start { message_id: turn.answer_id });
    }
    if remains.text_open {
        last.push(Part::TextEnd { id: Part::TEXT.into() });
    }
    last.extend(last_parts(&end, usage(&items, cost)));
    let lines = json_lines(last.iter().map(encode));
    let offset = i32::try_from(remains.next_offset).unwrap_or(i32::MAX);
    match keep_log {
        true => segments::insert(&mut tx, tenant, id, offset, &lines).await?,
        false => segments::delete(&mut tx, tenant, id).await?,
    }
    tx.commit().await?;
    Ok(Some(turn))
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
        error_code: Some("interrupted"),
        first_token_ms: None,
        latency_ms: i32::try_from(elapsed.max(0)).unwrap_or(i32::MAX),
    };
    turn.close(tx, ending).await?;
    conversations::touch(tx, tenant, turn.conversation_id).await?;
    Ok(keep_log)
}
