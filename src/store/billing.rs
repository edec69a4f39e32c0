//! What a billing system reads of one tenant: sealed rows in their order, and the months.

use super::Conn;
use super::sql::sql;
use crate::types::TenantId;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, SmallInt, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use utoipa::ToSchema;

/// A row of the ledger, as `billing.ledger_v1` shows it.
#[derive(Clone, Debug, Serialize, QueryableByName, ToSchema)]
pub struct LedgerRow {
    /// Its place among the tenant's rows: read on after the last one.
    #[diesel(sql_type = BigInt)]
    pub tenant_seq: i64,
    /// Its place among everybody's.
    #[diesel(sql_type = BigInt)]
    pub ledger_seq: i64,
    #[diesel(sql_type = Uuid)]
    pub event_id: uuid::Uuid,
    /// usage, adjustment, credit or refund.
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub user_id: Option<uuid::Uuid>,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub assistant_id: Option<uuid::Uuid>,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub turn_id: Option<uuid::Uuid>,
    #[diesel(sql_type = Nullable<Uuid>)]
    pub document_id: Option<uuid::Uuid>,
    #[diesel(sql_type = SmallInt)]
    pub step: i16,
    #[diesel(sql_type = Text)]
    pub meter: String,
    #[diesel(sql_type = BigInt)]
    pub quantity: i64,
    #[diesel(sql_type = Text)]
    pub provenance: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub model: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub price_version: Option<String>,
    /// Null: unpriced.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub cost_nano_usd: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    pub period_start: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub occurred_at: DateTime<Utc>,
}

/// The rows after one, in order.
pub async fn ledger_after(
    conn: &mut Conn,
    tenant: TenantId,
    after: i64,
    limit: i64,
) -> QueryResult<Vec<LedgerRow>> {
    sql("SELECT * FROM billing.ledger_v1 WHERE tenant_id = $1 AND tenant_seq > $2
         ORDER BY tenant_seq LIMIT $3")
    .bind::<Uuid, _>(tenant)
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

/// A month of the tenant's calendar.
#[derive(Clone, Debug, Serialize, QueryableByName, ToSchema)]
pub struct PeriodRow {
    #[diesel(sql_type = Timestamptz)]
    pub period_start: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub period_end: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub time_zone: String,
    /// open, ending or closed.
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub closed_at: Option<DateTime<Utc>>,
    /// Closed, and all its rows have a number.
    #[diesel(sql_type = Bool)]
    pub complete: bool,
}

/// The months in which anything happened, newest first.
pub async fn periods(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<PeriodRow>> {
    sql("SELECT * FROM billing.periods_v1 WHERE tenant_id = $1 ORDER BY period_start DESC")
        .bind::<Uuid, _>(tenant)
        .load(conn)
        .await
}

#[derive(QueryableByName)]
struct Watermark {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    complete_through: Option<DateTime<Utc>>,
}

/// Everything that occurred until then has a number; `None` before the first time.
pub async fn complete_through(conn: &mut Conn) -> QueryResult<Option<DateTime<Utc>>> {
    let row: Watermark =
        sql("SELECT NULLIF(complete_through, '-infinity') AS complete_through FROM ledger_state")
            .get_result(conn)
            .await?;
    Ok(row.complete_through)
}
