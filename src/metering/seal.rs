//! The sealer: gives the rows of the ledger their numbers and hashes, and adds them up by day.
//!
//! A row is numbered after its transaction has committed, by one node at a time, so numbers appear
//! in their order: who reads on from a number misses nothing, however long a writer took.

use super::chain;
use super::warn::warn;
use crate::store::daily::{self, Key, Sum};
use crate::store::ledger_state::{self, Duty};
use crate::store::seals::{self, Head, Seal, Waiting};
use crate::store::{Conn, Db, DbError};
use crate::types::{AssistantId, TenantId, UserId};
use chrono::Utc;
use diesel::QueryResult;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The most batches, each a turn or a document, of one transaction.
const BATCHES: i64 = 500;

/// What one pass did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pass {
    /// Rows that were sealed.
    pub rows: usize,
    /// More were waiting.
    pub more: bool,
}

/// Seals what waits, the oldest first. Does nothing when another node is at it.
///
/// # Errors
/// When the database cannot be asked; nothing was sealed then.
pub async fn seal(db: &Db) -> Result<Pass, DbError> {
    let mut tx = db.ledger().await?;
    if !ledger_state::take_duty(&mut tx, Duty::Seal).await? {
        return Ok(Pass::default());
    }
    let numbering = ledger_state::numbering(&mut tx).await?;
    let waiting = seals::take(&mut tx, BATCHES).await?;
    let more = waiting.first().is_some_and(|row| row.batches >= BATCHES);
    let mut last = numbering.ledger_seq;
    if !waiting.is_empty() {
        last = number(&mut tx, &waiting, last).await?;
        daily::add(&mut tx, &by_day(&waiting)).await?;
        warn(&mut tx, waiting.iter().map(|row| &row.entry)).await?;
    }
    ledger_state::advance(&mut tx, &numbering, last, !more).await?;
    tx.commit().await?;
    let oldest = waiting.iter().map(|row| row.entry.occurred_at).min();
    let lag = oldest.map_or(0.0, |at| (Utc::now() - at).as_seconds_f64().max(0.0));
    metrics::gauge!("docent_ledger_seal_lag_seconds").set(lag);
    Ok(Pass { rows: waiting.len(), more })
}

/// Seals the rows with the numbers after `last`; returns the last it gave.
async fn number(conn: &mut Conn, waiting: &[Waiting], mut last: i64) -> QueryResult<i64> {
    let tenants: BTreeSet<TenantId> = waiting.iter().map(|row| row.entry.tenant_id).collect();
    let tenants: Vec<TenantId> = tenants.into_iter().collect();
    let mut heads: BTreeMap<TenantId, Head> = seals::heads(conn, &tenants)
        .await?
        .into_iter()
        .map(|head| (head.tenant_id, head))
        .collect();
    let mut sealed = Vec::with_capacity(waiting.len());
    for row in waiting {
        let entry = &row.entry;
        let head = heads.entry(entry.tenant_id).or_insert_with(|| Head {
            tenant_id: entry.tenant_id,
            tenant_seq: 0,
            hash: chain::genesis(entry.tenant_id),
        });
        last += 1;
        head.tenant_seq += 1;
        head.hash = chain::link(&head.hash, last, head.tenant_seq, entry);
        sealed.push(Seal {
            tenant_id: entry.tenant_id,
            tenant_seq: head.tenant_seq,
            month: entry.month,
            event_id: entry.event_id,
            ledger_seq: last,
            day: row.day,
            hash: head.hash.clone(),
        });
    }
    seals::insert(conn, &sealed).await?;
    let heads: Vec<Head> = heads.into_values().collect();
    seals::move_heads(conn, &heads, chain::genesis).await?;
    Ok(last)
}

/// Sums of the rows, in the order of their keys: whoever adds locks in the same order.
fn by_day(waiting: &[Waiting]) -> Vec<(Key, Sum)> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for Waiting { entry, day, .. } in waiting {
        let key = Key {
            tenant_id: entry.tenant_id,
            day: *day,
            user_id: entry.user_id.map_or(Uuid::nil(), UserId::uuid),
            assistant_id: entry.assistant_id.map_or(Uuid::nil(), AssistantId::uuid),
            model: entry.model.clone().unwrap_or_default(),
            meter: entry.meter.clone(),
        };
        let sum = sums.entry(key).or_default();
        sum.quantity = sum.quantity.saturating_add(entry.quantity);
        let unpriced = if entry.cost_nano_usd.is_none() { entry.quantity } else { 0 };
        sum.unpriced = sum.unpriced.saturating_add(unpriced);
        sum.cost_nano_usd = sum.cost_nano_usd.saturating_add(entry.cost_nano_usd.unwrap_or(0));
        sum.events += 1;
    }
    sums.into_iter().collect()
}
