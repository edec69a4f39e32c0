//! A turn that is not in this node's memory, read back from the database into the same kind of log:
//! byte for byte while its log is kept, later the stored message, declared as a snapshot.

use super::answer::End;
use super::log::TurnLog;
use super::part::{CitationData, Part, SnapshotData, UsageData};
use super::settle::last_parts;
use crate::store::messages::Message;
use crate::store::turns::Turn;
use crate::store::{Conn, Db, DbError, citations, ledger, segments};
use crate::types::{Ctx, TenantId, TurnId};
use diesel::QueryResult;
use std::sync::Arc;

/// The log of the user's turn, and whether the turn still runs (elsewhere); `None` when there is no
/// such turn.
pub(super) async fn replay(
    db: &Db,
    ctx: Ctx,
    id: TurnId,
) -> Result<Option<(Arc<TurnLog>, bool)>, DbError> {
    let mut tx = db.tenant(ctx.tenant).await?;
    let turn = Turn::find(&mut tx, ctx.tenant, id).await?;
    let Some(turn) = turn.filter(|turn| turn.user_id == ctx.user) else { return Ok(None) };
    let log = TurnLog::new(id);
    load(&mut tx, ctx.tenant, &log).await?;
    let running = turn.state == "running";
    let log = match running || log.ended() {
        true => log,
        false => snapshot(&mut tx, &turn).await?,
    };
    tx.commit().await?;
    Ok(Some((log, running)))
}

/// Copies the segments that are new; a gap ends the reading, it is filled by the next look.
pub(super) async fn load(tx: &mut Conn, tenant: TenantId, log: &TurnLog) -> QueryResult<()> {
    // A segment can begin before what is known: looks at the last one again.
    let known = i32::try_from(log.len()).unwrap_or(i32::MAX);
    for segment in segments::load(tx, tenant, log.turn(), known).await? {
        let first = usize::try_from(segment.first_offset).unwrap_or(usize::MAX);
        if !log.copy(first, &segment.parts) {
            break;
        }
    }
    Ok(())
}

/// The stored message of a closed turn whose log is gone: it was kept for a while only, or a document
/// that it quoted was deleted.
async fn snapshot(tx: &mut Conn, turn: &Turn) -> QueryResult<Arc<TurnLog>> {
    let log = TurnLog::snapshot(turn.id);
    let message = Message::find(tx, turn.tenant_id, turn.answer_id).await?;
    let text = message.map(|message| message.content).unwrap_or_default();
    log.append(&Part::Start { message_id: turn.answer_id });
    log.append(&Part::DataSnapshot { data: SnapshotData { state: turn.state.clone() } });
    for row in citations::of_turns(tx, turn.tenant_id, &[turn.id]).await? {
        let data = CitationData::from(row);
        log.append(&Part::DataCitation { id: format!("cite-{}", data.index), data });
    }
    if !text.is_empty() {
        log.append(&Part::TextStart { id: Part::TEXT.into() });
        log.append(&Part::delta(text));
        log.append(&Part::TextEnd { id: Part::TEXT.into() });
    }
    let billed = ledger::of_turns(tx, turn.tenant_id, &[turn.id]).await?;
    end(turn, UsageData::billed(&billed, turn.id), &log);
    Ok(log)
}

/// Ends the log of a turn that was closed, as its last segments say, or, without them, as its row
/// does.
pub(super) async fn end_as_stored(tx: &mut Conn, turn: &Turn, log: &TurnLog) -> QueryResult<()> {
    load(tx, turn.tenant_id, log).await?;
    end(turn, None, log);
    Ok(())
}

/// Does nothing to a log that has ended.
fn end(turn: &Turn, usage: Option<UsageData>, log: &TurnLog) {
    let end = match turn.state.as_str() {
        "complete" => End::Complete,
        "stopped" => End::Stopped,
        _ => End::interrupted("This answer failed."),
    };
    log.append_all(&last_parts(&end, usage));
}
