//! Corrections: new rows, never a change of what is there.

use super::bill::id_of;
use crate::store::Conn;
use crate::store::ledger::{self, NewEntry};
use crate::store::reservations;
use crate::types::{TenantId, TurnId, UserId};
use diesel::QueryResult;
use uuid::Uuid;

/// What is corrected.
#[derive(Clone, Copy, Debug)]
pub enum Correction {
    /// So many nano-dollars less to pay.
    Credit { nano_usd: i64 },
    /// So many more, or less when negative.
    Adjustment { nano_usd: i64 },
    /// Everything that a turn was billed, taken back; tokens, too.
    Refund { turn: TurnId },
}

/// Appends a correction to the period that is open now, once per `id` (a UUIDv7), and a refund once per
/// turn. Returns how many rows were appended.
///
/// # Errors
/// When a query fails; nothing is corrected then.
pub async fn correct(
    conn: &mut Conn,
    tenant: TenantId,
    user: Option<UserId>,
    id: Uuid,
    correction: Correction,
) -> QueryResult<i64> {
    let (source, entries) = match correction {
        Correction::Credit { nano_usd } => (id, vec![plain("credit", id, -nano_usd)]),
        Correction::Adjustment { nano_usd } => (id, vec![plain("adjustment", id, nano_usd)]),
        Correction::Refund { turn } => {
            let billed = ledger::of_turns(conn, tenant, &[turn]).await?;
            (turn.uuid(), billed.iter().map(|entry| reversed(turn, entry)).collect())
        }
    };
    let unchecked = reservations::bill(conn, (tenant, user, None), source, &entries, false).await?;
    Ok(unchecked.unwrap_or(0))
}

fn plain(kind: &str, id: Uuid, cost_nano_usd: i64) -> NewEntry {
    NewEntry {
        event_id: id,
        kind: kind.into(),
        turn_id: None,
        document_id: None,
        step: 0,
        meter: "correction".into(),
        quantity: 0,
        provenance: "exact".into(),
        model: None,
        price_version: None,
        cost_nano_usd: Some(cost_nano_usd),
    }
}

fn reversed(turn: TurnId, entry: &ledger::TurnEntry) -> NewEntry {
    let (turn_id, step) = (turn.uuid(), entry.step.to_be_bytes());
    let event_id = id_of(&[b"refund", turn_id.as_bytes(), &step, entry.meter.as_bytes()]);
    NewEntry {
        event_id,
        kind: "refund".into(),
        turn_id: Some(turn),
        document_id: None,
        step: entry.step,
        meter: entry.meter.clone(),
        quantity: -entry.quantity,
        provenance: entry.provenance.clone(),
        model: entry.model.clone(),
        price_version: entry.price_version.clone(),
        cost_nano_usd: entry.cost_nano_usd.map(|cost| -cost),
    }
}
