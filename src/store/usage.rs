//! The summary of the ledger by day.

use super::Conn;
use super::schema::{assistants, users};
use super::sql::sql;
use crate::types::{AssistantId, TenantId, UserId};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;
use std::collections::BTreeMap;

/// Where the tenant is in its calendar.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Calendar {
    #[diesel(sql_type = Date)]
    pub today: NaiveDate,
    /// The first day of the month.
    #[diesel(sql_type = Date)]
    pub month: NaiveDate,
    #[diesel(sql_type = Timestamptz)]
    pub month_start: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    pub month_end: DateTime<Utc>,
}

/// A day is named by its middle: then it does not matter that a time zone was changed.
pub async fn calendar(conn: &mut Conn, tenant: TenantId) -> QueryResult<Calendar> {
    sql("SELECT ((p.day_start + interval '12 hours') AT TIME ZONE t.time_zone)::date AS today,
                ((p.month_start + interval '12 hours') AT TIME ZONE t.time_zone)::date AS month,
                p.month_start, p.month_end
         FROM tenants t, current_periods(t.tenant_id) p WHERE t.tenant_id = $1")
    .bind::<Uuid, _>(tenant)
    .get_result(conn)
    .await
}

/// A sum.
#[derive(Clone, Debug, QueryableByName)]
pub struct Row {
    #[diesel(sql_type = Date)]
    pub day: NaiveDate,
    #[diesel(sql_type = Nullable<Text>)]
    pub key: Option<String>,
    #[diesel(sql_type = Text)]
    pub meter: String,
    #[diesel(sql_type = BigInt)]
    pub quantity: i64,
    #[diesel(sql_type = BigInt)]
    pub unpriced: i64,
    #[diesel(sql_type = BigInt)]
    pub cost_nano_usd: i64,
}

/// Sums by day, meter and `column` (an expression of ours), of a user or of the whole tenant.
pub async fn rows(
    conn: &mut Conn,
    tenant: TenantId,
    user: Option<UserId>,
    since: NaiveDate,
    column: &str,
) -> QueryResult<Vec<Row>> {
    sql(format!(
        "WITH fresh AS (
           SELECT l.* FROM ledger_batches b
           JOIN usage_ledger l ON l.tenant_id = b.tenant_id AND l.month = b.month
             AND l.event_id = ANY (b.event_ids)
           WHERE b.tenant_id = $1),
         rows AS (
           SELECT day, NULLIF(user_id, '00000000-0000-0000-0000-000000000000') AS user_id,
                  NULLIF(assistant_id, '00000000-0000-0000-0000-000000000000') AS assistant_id,
                  NULLIF(model, '') AS model, meter, quantity, unpriced, cost_nano_usd
           FROM usage_daily WHERE tenant_id = $1 AND day >= $3
           UNION ALL
           SELECT ((l.day_start + interval '12 hours') AT TIME ZONE t.time_zone)::date, l.user_id,
                  l.assistant_id, l.model, l.meter, l.quantity,
                  CASE WHEN l.cost_nano_usd IS NULL THEN l.quantity ELSE 0 END, coalesce(l.cost_nano_usd, 0)
           FROM fresh l JOIN tenants t ON t.tenant_id = l.tenant_id)
         SELECT day, {column} AS key, meter, sum(quantity)::bigint AS quantity,
                sum(unpriced)::bigint AS unpriced, sum(cost_nano_usd)::bigint AS cost_nano_usd
         FROM rows WHERE day >= $3 AND ($2::uuid IS NULL OR user_id = $2)
         GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    ))
    .bind::<Uuid, _>(tenant)
    .bind::<Nullable<Uuid>, _>(user)
    .bind::<Date, _>(since)
    .load(conn)
    .await
}

/// What these users and assistants are called: an address, a name.
pub async fn names(
    conn: &mut Conn,
    tenant: TenantId,
    ids: &[uuid::Uuid],
) -> QueryResult<BTreeMap<String, String>> {
    let people: Vec<(UserId, String)> = users::table
        .filter(users::tenant_id.eq(tenant).and(users::id.eq_any(ids)))
        .select((users::id, users::email))
        .load(conn)
        .await?;
    let assistants: Vec<(AssistantId, String)> = assistants::table
        .filter(assistants::tenant_id.eq(tenant).and(assistants::id.eq_any(ids)))
        .select((assistants::id, assistants::name))
        .load(conn)
        .await?;
    let people = people.into_iter().map(|(id, email)| (id.to_string(), email));
    Ok(people.chain(assistants.into_iter().map(|(id, name)| (id.to_string(), name))).collect())
}
