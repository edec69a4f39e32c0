//! Settlement: what was used goes into the ledger, the counters follow, what was reserved is free.

use super::bill::{Bill, Item, Prices, Source, StepBill};
use super::reserve::QuotaExceeded;
use crate::store::Conn;
use crate::store::ledger::{self, NewEntry};
use crate::store::reservations;
use crate::types::{DocumentId, Meter, Provenance, TenantId, TurnId, UserId};
use diesel::QueryResult;

/// Settles a turn and returns its cost in nano-dollars, if its model has a price. Settling it again
/// does nothing: the reservation is closed. Locks counters: do it last in the transaction.
///
/// # Errors
/// When a query fails; nothing is settled then.
pub async fn settle_turn(conn: &Conn, turn: TurnId, bill: &Bill) -> QueryResult<Option<i64>> {
    let entries = bill.entries();
    if !reservations::settle(conn, bill.tenant, turn, &entries).await? {
        return Ok(None);
    }
    count(&entries);
    Ok(bill.cost())
}

/// Bills what could not be reserved, a document, against the limits, in one step: its size is only
/// known when the work is done. A second bill for the same thing does nothing.
///
/// # Errors
/// When a query fails, and inside of that the hard limit that would be broken; roll back then.
pub async fn bill_now(conn: &mut Conn, bill: &Bill) -> QueryResult<Result<(), QuotaExceeded>> {
    append(conn, bill, true).await
}

/// Bills what was used already, whatever the limits: ask before with [`super::quote`].
///
/// # Errors
/// When a query fails; nothing is billed then.
pub async fn bill_used(conn: &mut Conn, bill: &Bill) -> QueryResult<()> {
    let unchecked = append(conn, bill, false).await?;
    debug_assert!(unchecked.is_ok(), "what was used is billed, whatever the limits");
    Ok(())
}

/// What a turn really used, known only after it had been closed by estimate: the differences are
/// appended to the period that is open now. Does nothing where there are none, or a second time.
///
/// # Errors
/// When a query fails; nothing is billed then.
pub async fn adjust(conn: &mut Conn, turn: TurnId, bill: &Bill) -> QueryResult<()> {
    let billed = ledger::of_turns(conn, bill.tenant, &[turn]).await?;
    let estimated = billed.iter().any(|entry| entry.provenance == Provenance::Estimated.as_str());
    let adjusted = billed.iter().any(|entry| entry.kind == "adjustment");
    if adjusted || !(estimated || billed.is_empty()) {
        return Ok(());
    }
    // Steps that were billed and did not happen count, too.
    let last = billed.iter().map(|entry| entry.step.saturating_add(1)).max().unwrap_or(0);
    let known = i16::try_from(bill.steps.len()).unwrap_or(i16::MAX);
    let steps = (0..last.max(known)).map(|n| difference(bill, &billed, n)).collect();
    let later = Bill { first_step: Bill::LATER, steps, ..bill.clone() };
    if later.steps.iter().all(|step| step.items.is_empty()) {
        return Ok(());
    }
    bill_used(conn, &later).await
}

/// What a step used less what it was billed, in the model that it was billed for.
fn difference(bill: &Bill, billed: &[ledger::TurnEntry], n: i16) -> StepBill {
    let of_step = || billed.iter().filter(|entry| entry.step == n);
    let used = usize::try_from(n).ok().and_then(|n| bill.steps.get(n));
    let model = of_step().find(|entry| entry.meter == Meter::InputTokens.as_str());
    let model = model.and_then(|entry| entry.model.clone());
    let item = |meter: Meter| {
        let was = of_step().filter(|entry| entry.meter == meter.as_str());
        let was: i64 = was.map(|entry| entry.quantity).sum();
        let is = used.and_then(|step| step.items.iter().find(|item| item.meter == meter));
        let quantity = is.map_or(0, |item| item.quantity) - was;
        let provenance = is.map_or(Provenance::Exact, |item| item.provenance);
        (quantity != 0).then_some(Item { meter, quantity, provenance })
    };
    StepBill {
        model: model.or_else(|| used?.model.clone()),
        items: Meter::ALL.into_iter().filter_map(item).collect(),
    }
}

/// A document is deleted: what it stored is not stored any more. Do it last in the transaction.
///
/// # Errors
/// When a query fails.
pub async fn release_document(
    conn: &mut Conn,
    tenant: TenantId,
    user: UserId,
    document: DocumentId,
) -> QueryResult<()> {
    let stored = ledger::stored_bytes(conn, tenant, document).await?;
    if stored == 0 {
        return Ok(());
    }
    let bill = Bill {
        tenant,
        user,
        assistant: None,
        source: Source::Document(document),
        embedding_model: None,
        prices: Prices::default(),
        first_step: 1,
        steps: vec![StepBill {
            model: None,
            items: vec![Item::exact(Meter::StoredBytes, -stored)],
        }],
    };
    let unchecked = append(conn, &bill, false).await?;
    debug_assert!(unchecked.is_ok(), "what is gone is gone, whatever the limits");
    Ok(())
}

async fn append(
    conn: &mut Conn,
    bill: &Bill,
    checked: bool,
) -> QueryResult<Result<(), QuotaExceeded>> {
    let (entries, whose) = (bill.entries(), (bill.tenant, Some(bill.user), bill.assistant));
    Ok(match reservations::bill(conn, whose, bill.source.uuid(), &entries, checked).await? {
        Ok(appended) => {
            if appended > 0 {
                count(&entries);
            }
            Ok(())
        }
        Err(limit) => Err(limit.into()),
    })
}

fn count(entries: &[NewEntry]) {
    for entry in entries {
        let amount = u64::try_from(entry.quantity).unwrap_or(0);
        metrics::counter!("docent_tokens_total", "meter" => entry.meter.clone(),
            "provenance" => entry.provenance.clone())
        .increment(amount);
    }
}
