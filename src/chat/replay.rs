//! A turn that is not in this node's memory, read back from the database into the same kind of log:
//! ended ones byte for byte, one that runs elsewhere as its segments arrive.

use super::answer::End;
use super::log::TurnLog;
use super::part::{CitationData, Part};
use super::settle::last_parts;
use crate::runtime::Tasks;
use crate::store::messages::Message;
use crate::store::turns::Turn;
use crate::store::{Conn, Db, DbError, citations, segments};
use crate::types::{Ctx, TenantId, TurnId};
use bytes::Bytes;
use diesel::QueryResult;
use std::sync::Arc;
use std::time::Duration;

/// How often the segments of a turn that runs elsewhere are looked for.
const POLL: Duration = Duration::from_millis(300);

/// The log of the user's turn; `None` when there is no such turn.
pub(super) async fn replay(
    db: &Db,
    tasks: &Tasks,
    ctx: Ctx,
    id: TurnId,
) -> Result<Option<Arc<TurnLog>>, DbError> {
    let mut tx = db.tenant(ctx.tenant).await?;
    let turn = Turn::find(&mut tx, ctx.tenant, id).await?;
    let Some(turn) = turn.filter(|turn| turn.user_id == ctx.user) else { return Ok(None) };
    let log = TurnLog::new(id);
    load(&mut tx, ctx.tenant, &log).await?;
    if !log.ended() {
        if turn.state == "running" {
            let (db, log) = (db.clone(), Arc::clone(&log));
            tasks.spawn("turn-follower", follow(db, ctx.tenant, log, tasks.closing()));
        } else {
            snapshot(&mut tx, &turn, &log).await?;
        }
    }
    tx.commit().await?;
    Ok(Some(log))
}

/// Appends the segments that are new; a gap ends the reading, it is filled by the next look.
async fn load(tx: &mut Conn, tenant: TenantId, log: &TurnLog) -> QueryResult<()> {
    let from = i32::try_from(log.len()).unwrap_or(i32::MAX);
    for segment in segments::load(tx, tenant, log.turn(), from).await? {
        if usize::try_from(segment.first_offset).ok() != Some(log.len()) {
            break;
        }
        for line in segment.parts.lines() {
            let part = serde_json::from_str(line).unwrap_or(Part::Finish {}); // not ours: end here
            log.append_encoded(Bytes::copy_from_slice(line.as_bytes()), &part);
        }
    }
    Ok(())
}

async fn follow(
    db: Db,
    tenant: TenantId,
    log: Arc<TurnLog>,
    closing: tokio_util::sync::CancellationToken,
) {
    // Ends with the last reader, with the turn, or with the server.
    while !log.ended() && Arc::strong_count(&log) > 1 && !closing.is_cancelled() {
        tokio::time::sleep(POLL).await;
        if let Err(error) = look(&db, tenant, &log).await {
            tracing::warn!(turn.id = %log.turn(), %error, "A turn elsewhere could not be followed");
        }
    }
}

async fn look(db: &Db, tenant: TenantId, log: &TurnLog) -> Result<(), DbError> {
    let mut tx = db.tenant(tenant).await?;
    // The state first: a turn that is closed now has all its segments by the time they are read.
    let turn = Turn::find(&mut tx, tenant, log.turn()).await?;
    load(&mut tx, tenant, log).await?;
    match turn {
        Some(turn) if turn.state == "running" || log.ended() => {}
        Some(turn) => snapshot(&mut tx, &turn, log).await?,
        None => log.append(&Part::Error { error_text: "The conversation was deleted.".into() }),
    }
    tx.commit().await
}

/// A closed turn whose log is gone (a document that it quoted was deleted): the stored message.
async fn snapshot(tx: &mut Conn, turn: &Turn, log: &TurnLog) -> QueryResult<()> {
    let message = Message::find(tx, turn.tenant_id, turn.answer_id).await?;
    let text = message.map(|message| message.content).unwrap_or_default();
    if log.is_empty() {
        log.append(&Part::Start { message_id: turn.answer_id });
        for row in citations::of_turns(tx, turn.tenant_id, &[turn.id]).await? {
            let data = CitationData::from(row);
            log.append(&Part::DataCitation { id: format!("cite-{}", data.index), data });
        }
        if !text.is_empty() {
            log.append(&Part::TextStart { id: Part::TEXT.into() });
            log.append(&Part::delta(text));
            log.append(&Part::TextEnd { id: Part::TEXT.into() });
        }
    }
    let end = match turn.state.as_str() {
        "complete" => End::Complete,
        "stopped" => End::Stopped,
        _ => End::Failed { code: "failed", message: "This answer failed.".into() },
    };
    last_parts(&end, None).iter().for_each(|part| log.append(part));
    Ok(())
}
