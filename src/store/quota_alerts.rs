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
    sql(
        "WITH due AS (
           SELECT q.tenant_id, q.scope, q.scope_id, q.period, q.period_start, q.meter, p.percent, q.used,
                  q.max_amount
           FROM billing.quotas_v1 q CROSS JOIN (VALUES (80::smallint), (100::smallint)) p (percent)
           WHERE q.tenant_id = ANY ($1) AND q.scope IN ('tenant', 'user') AND q.scope_id = ANY ($2)
             AND (q.period = 'total' OR q.period_start > billing_now() - interval '32 days')
             AND (q.period_end IS NULL OR q.period_end > billing_now()) AND q.used > 0
             AND q.used::numeric * 100 >= q.max_amount::numeric * p.percent),
         given AS (
           INSERT INTO quota_alerts (tenant_id, scope, scope_id, period, period_start, meter, percent)
             SELECT tenant_id, scope, scope_id, period, period_start, meter, percent FROM due
             ON CONFLICT DO NOTHING RETURNING *),
         fresh AS (
           SELECT d.* FROM due d
           JOIN given USING (tenant_id, scope, scope_id, period, period_start, meter, percent)),
         told AS (
           INSERT INTO outbox (tenant_id, id, type, data)
             SELECT tenant_id, gen_random_uuid(), 'quota.warning', to_jsonb(fresh) - 'tenant_id' FROM fresh)
         SELECT * FROM fresh",
    )
    .bind::<Array<Uuid>, _>(tenants.to_vec())
    .bind::<Array<Uuid>, _>(scopes.to_vec())
    .load(conn)
    .await
}
