//! The ledger: append-only, the truth about usage.

use super::Conn;
use super::schema::usage_ledger;
use crate::types::{DocumentId, TenantId, TurnId, UserId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;

/// A quantity that was used, once; as the database's functions read it.
#[derive(Clone, Debug, Serialize)]
pub struct NewEntry {
    pub event_id: uuid::Uuid,
    /// usage, adjustment, credit or refund.
    pub kind: String,
    pub turn_id: Option<TurnId>,
    pub document_id: Option<DocumentId>,
    pub step: i16,
    pub meter: String,
    pub quantity: i64,
    pub provenance: String,
    pub model: Option<String>,
    pub price_version: Option<String>,
    pub cost_nano_usd: Option<i64>,
}

/// What a turn was billed.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = usage_ledger)]
pub struct TurnEntry {
    /// usage, adjustment or credit.
    pub kind: String,
    pub turn_id: Option<TurnId>,
    pub step: i16,
    pub meter: String,
    pub quantity: i64,
    pub provenance: String,
    pub model: Option<String>,
    pub price_version: Option<String>,
    pub cost_nano_usd: Option<i64>,
}

/// The entries of several turns, but for refunds.
pub async fn of_turns(
    conn: &mut Conn,
    tenant: TenantId,
    turns: &[TurnId],
) -> QueryResult<Vec<TurnEntry>> {
    usage_ledger::table
        .filter(usage_ledger::tenant_id.eq(tenant).and(usage_ledger::turn_id.eq_any(turns)))
        .filter(usage_ledger::kind.ne("refund"))
        .select(TurnEntry::as_select())
        .load(conn)
        .await
}

/// What a document stores, by the ledger; 0 once it was deleted.
pub async fn stored_bytes(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
) -> QueryResult<i64> {
    let rows: Vec<i64> = usage_ledger::table
        .filter(usage_ledger::tenant_id.eq(tenant).and(usage_ledger::document_id.eq(document)))
        .filter(usage_ledger::meter.eq("stored_bytes"))
        .select(usage_ledger::quantity)
        .load(conn)
        .await?;
    Ok(rows.into_iter().sum())
}

/// Whose turn was billed; `None` when none was.
pub async fn asker(conn: &mut Conn, tenant: TenantId, turn: TurnId) -> QueryResult<Option<UserId>> {
    usage_ledger::table
        .filter(usage_ledger::tenant_id.eq(tenant).and(usage_ledger::turn_id.eq(turn)))
        .select(usage_ledger::user_id.assume_not_null())
        .first(conn)
        .await
        .optional()
}
