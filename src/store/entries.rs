//! The ledger's rows as they stand there, whole: what is sealed, checked and shown on receipts.

use super::Conn;
use super::schema::{ledger_seals, usage_ledger};
use super::seals::Seal;
use crate::types::{AssistantId, DocumentId, TenantId, TurnId, UserId};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// A row of the ledger.
#[derive(Clone, Debug, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = usage_ledger)]
pub struct Entry {
    pub tenant_id: TenantId,
    pub event_id: Uuid,
    /// Of the turn or document, in UTC: the part of the ledger in which it lies.
    pub month: NaiveDate,
    /// usage, adjustment, credit or refund.
    pub kind: String,
    pub user_id: Option<UserId>,
    pub assistant_id: Option<AssistantId>,
    pub turn_id: Option<TurnId>,
    pub document_id: Option<DocumentId>,
    pub step: i16,
    pub meter: String,
    pub quantity: i64,
    /// exact or estimated.
    pub provenance: String,
    pub model: Option<String>,
    /// `None`: unpriced.
    pub price_version: Option<String>,
    pub cost_nano_usd: Option<i64>,
    /// The month and the day of the tenant's calendar in which it counts.
    pub period_start: DateTime<Utc>,
    pub day_start: DateTime<Utc>,
    pub occurred_at: DateTime<Utc>,
}

/// A row and its seal.
#[diesel::dsl::auto_type]
fn same_row() -> _ {
    ledger_seals::tenant_id
        .eq(usage_ledger::tenant_id)
        .and(ledger_seals::event_id.eq(usage_ledger::event_id))
        .and(ledger_seals::month.eq(usage_ledger::month))
}

/// The hash before a seal's: of the row before it, or where what is kept of the chain begins.
const HASH_BEFORE: &str = "coalesce(
    (SELECT b.hash FROM ledger_seals b
      WHERE b.tenant_id = ledger_seals.tenant_id AND b.tenant_seq = ledger_seals.tenant_seq - 1),
    (SELECT h.base_hash FROM ledger_heads h
      WHERE h.tenant_id = ledger_seals.tenant_id AND h.base_seq = ledger_seals.tenant_seq - 1))";

/// A row of a receipt: its seal and the hash before it, once it has one.
pub type Line = (Entry, Option<Seal>, Option<Vec<u8>>);

/// What a turn was billed, in the order in which it was sealed.
pub async fn receipt(conn: &mut Conn, tenant: TenantId, turn: TurnId) -> QueryResult<Vec<Line>> {
    usage_ledger::table
        .left_join(ledger_seals::table.on(same_row()))
        .filter(usage_ledger::tenant_id.eq(tenant).and(usage_ledger::turn_id.eq(turn)))
        .order((ledger_seals::tenant_seq.asc().nulls_last(), usage_ledger::event_id))
        .select((
            Entry::as_select(),
            Option::<Seal>::as_select(),
            sql::<Nullable<Binary>>(HASH_BEFORE),
        ))
        .load(conn)
        .await
}

/// What a row must cost by the price version it names, as the database itself reckons.
const EXPECTED_COST: &str = "(
    SELECT CASE usage_ledger.meter WHEN 'requests' THEN usage_ledger.quantity * p.request
             ELSE cost_of(usage_ledger.quantity, CASE usage_ledger.meter
               WHEN 'input_tokens' THEN p.input WHEN 'embedding_tokens' THEN p.input
               WHEN 'cached_input_tokens' THEN coalesce(p.cached_input, p.input)
               WHEN 'output_tokens' THEN p.output
               WHEN 'reasoning_tokens' THEN coalesce(p.reasoning, p.output) END) END
    FROM (SELECT input, cached_input, output, reasoning, request FROM tenant_prices t
            WHERE t.tenant_id = usage_ledger.tenant_id AND t.version = usage_ledger.price_version
          UNION ALL
          SELECT input, cached_input, output, reasoning, request FROM prices t
            WHERE t.version = usage_ledger.price_version LIMIT 1) p)";

/// A seal, its row if that is there, and what the row must cost.
pub type Sealed = (Seal, Option<Entry>, Option<i64>);

/// Sealed rows of all tenants after a number, or of one tenant after a number of its own, in order.
pub async fn sealed_after(
    conn: &mut Conn,
    tenant: Option<TenantId>,
    number: i64,
    limit: i64,
) -> QueryResult<Vec<Sealed>> {
    let query = ledger_seals::table
        .left_join(usage_ledger::table.on(same_row()))
        .select((
            Seal::as_select(),
            Option::<Entry>::as_select(),
            sql::<Nullable<BigInt>>(EXPECTED_COST),
        ))
        .limit(limit);
    match tenant {
        None => {
            let after = ledger_seals::ledger_seq.gt(number);
            query.filter(after).order(ledger_seals::ledger_seq).load(conn).await
        }
        Some(tenant) => {
            let after = ledger_seals::tenant_id.eq(tenant).and(ledger_seals::tenant_seq.gt(number));
            query.filter(after).order(ledger_seals::tenant_seq).load(conn).await
        }
    }
}
