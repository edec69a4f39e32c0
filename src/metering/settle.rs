//! Settlement: what was used goes into the ledger, the counters follow, what was reserved is free.

use super::bill::Bill;
use super::period::lock_period;
use super::reserve::{QuotaExceeded, ReserveError};
use crate::store::Conn;
use crate::store::ledger::{self, NewEntry};
use crate::store::quotas;
use crate::store::reservations;
use crate::types::{Meter, TurnId};
use diesel::QueryResult;
use std::collections::HashSet;
use uuid::Uuid;

/// Settles a turn and returns its cost in nano-dollars, if its model has a price. Settling it again
/// does nothing: the reservations are closed. Locks quota rows: do it last in the transaction.
///
/// # Errors
/// When a query fails; nothing is settled then.
pub async fn settle_turn(conn: &mut Conn, turn: TurnId, bill: &Bill) -> QueryResult<Option<i64>> {
    let open = reservations::settle(conn, bill.tenant, turn).await?;
    let Some(period_start) = open.first().map(|reservation| reservation.period_start) else {
        return Ok(None);
    };
    let entries = bill.entries(conn, period_start).await?;
    let inserted = append(conn, &entries).await?;
    let changes: Vec<(&str, i64, i64)> = Meter::ALL
        .into_iter()
        .map(|meter| {
            let used = billed(&entries, &inserted, meter);
            let reserved: i64 =
                open.iter().filter(|r| r.meter == meter.as_str()).map(|r| r.amount).sum();
            (meter.as_str(), used, -reserved)
        })
        .filter(|(_, used, reserved)| (*used, *reserved) != (0, 0))
        .collect();
    quotas::shift(conn, bill.tenant, bill.user, period_start, &changes).await?;
    Ok(entries.iter().filter_map(|entry| entry.cost_nano_usd).reduce(i64::saturating_add))
}

/// Bills what an ingestion used, against the tenant's limits, in one step: its size is only known
/// when the work is done. A second bill for the same document does nothing.
///
/// # Errors
/// `Exceeded` when a limit would be broken; nothing is billed then.
pub async fn bill_document(conn: &mut Conn, bill: &Bill) -> Result<(), ReserveError> {
    let period = quotas::current_period(conn).await?;
    let entries = bill.entries(conn, period.start).await?;
    let rows = lock_period(conn, bill.tenant, bill.user, period).await?;
    let inserted = append(conn, &entries).await?;
    for row in &rows {
        let wanted: i64 = entries
            .iter()
            .filter(|entry| entry.meter == row.meter && inserted.contains(&entry.event_id))
            .map(|entry| entry.quantity)
            .sum();
        if wanted > 0 && row.left().is_some_and(|left| left < wanted) {
            return Err(ReserveError::Exceeded(QuotaExceeded::of(row)));
        }
    }
    let changes: Vec<(&str, i64, i64)> = Meter::ALL
        .into_iter()
        .map(|meter| (meter.as_str(), billed(&entries, &inserted, meter), 0))
        .filter(|(_, used, _)| *used != 0)
        .collect();
    quotas::shift(conn, bill.tenant, bill.user, period.start, &changes).await?;
    Ok(())
}

async fn append(conn: &mut Conn, entries: &[NewEntry]) -> QueryResult<HashSet<Uuid>> {
    if entries.is_empty() {
        return Ok(HashSet::new());
    }
    for entry in entries {
        let amount = u64::try_from(entry.quantity).unwrap_or(0);
        metrics::counter!("docent_tokens_total", "meter" => entry.meter.clone(),
            "provenance" => entry.provenance.clone())
        .increment(amount);
    }
    Ok(ledger::append(conn, entries).await?.into_iter().collect())
}

/// What of a meter was really inserted: only that moves a counter.
fn billed(entries: &[NewEntry], inserted: &HashSet<Uuid>, meter: Meter) -> i64 {
    entries
        .iter()
        .filter(|entry| entry.meter == meter.as_str() && inserted.contains(&entry.event_id))
        .map(|entry| entry.quantity)
        .sum()
}
