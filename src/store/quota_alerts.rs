//! Warnings about quotas that are nearly or wholly used: each is given once.

use super::Conn;
use super::sql::sql;
use crate::types::TenantId;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;

/// A warning that was not given before.
#[derive(Clone, Debug, QueryableByName)]
pub struct QuotaAlert {
    #[diesel(sql_type = Uuid)]
    pub tenant_id: TenantId,
    /// tenant or user.
    #[diesel(sql_type = Text)]
    pub scope: String,
    #[diesel(sql_type = Uuid)]
    pub scope_id: uuid::Uuid,
    /// day, month or total.
    #[diesel(sql_type = Text)]
    pub period: String,
    #[diesel(sql_type = Timestamptz)]
    pub period_start: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub meter: String,
    /// 80 or 100.
    #[diesel(sql_type = SmallInt)]
    pub percent: i16,
    #[diesel(sql_type = BigInt)]
    pub used: i64,
    #[diesel(sql_type = BigInt)]
    pub max_amount: i64,
}

/// Writes down what is due for these tenants and users (`scopes`, the tenants among them) in the
/// periods that are open, puts it into the outbox as `quota.warning`, and returns it. Needs a ledger
/// transaction.
pub async fn insert_due(
    conn: &mut Conn,
    tenants: &[TenantId],
    scopes: &[uuid::Uuid],
) -> QueryResult<Vec<QuotaAlert>> {
    sql("SELECT * FROM warn_of_quotas($1, $2)")
        .bind::<Array<Uuid>, _>(tenants.to_vec())
        .bind::<Array<Uuid>, _>(scopes.to_vec())
        .load(conn)
        .await
}
