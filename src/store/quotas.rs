//! Quota counters. Rows are always locked in one order (tenant before user, then by meter), so that
//! two turns never wait for each other in a circle.

use super::Conn;
use super::schema::quotas;
use crate::types::{TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid};
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = quotas)]
pub struct Quota {
    /// tenant or user.
    pub scope: String,
    pub scope_id: uuid::Uuid,
    pub meter: String,
    pub period_start: DateTime<Utc>,
    pub period_end: DateTime<Utc>,
    /// `None`: counted, not limited.
    pub max_amount: Option<i64>,
    pub used: i64,
    pub reserved: i64,
}

/// The month a quota is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

impl Quota {
    /// What is left; `None` is without limit.
    #[must_use]
    pub fn left(&self) -> Option<i64> {
        self.max_amount.map(|max| (max - self.used - self.reserved).max(0))
    }

    /// The rows of both scopes, locked in order.
    pub async fn lock(
        conn: &mut Conn,
        tenant: TenantId,
        user: UserId,
        period: Period,
    ) -> QueryResult<Vec<Self>> {
        quotas::table
            .filter(
                quotas::tenant_id
                    .eq(tenant)
                    .and(quotas::period_start.eq(period.start))
                    .and(quotas::scope_id.eq_any([tenant.uuid(), user.uuid()])),
            )
            .order((quotas::scope, quotas::scope_id, quotas::meter))
            .select(Self::as_select())
            .for_update()
            .load(conn)
            .await
    }

    /// The rows of both scopes, as they stand.
    pub async fn load(
        conn: &mut Conn,
        tenant: TenantId,
        user: UserId,
        period: Period,
    ) -> QueryResult<Vec<Self>> {
        quotas::table
            .filter(
                quotas::tenant_id
                    .eq(tenant)
                    .and(quotas::period_start.eq(period.start))
                    .and(quotas::scope_id.eq_any([tenant.uuid(), user.uuid()])),
            )
            .order((quotas::scope, quotas::meter))
            .select(Self::as_select())
            .load(conn)
            .await
    }
}

/// Makes the rows of a period for a tenant (`scope_id` is its id) or for one of its users, with the
/// plan's limits, where they are missing. Rows of a user are made by who holds the tenant's rows
/// locked: otherwise two who begin a period at once wait for each other.
pub async fn open(
    conn: &mut Conn,
    tenant: TenantId,
    scope_id: uuid::Uuid,
    period: Period,
) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO quotas (tenant_id, scope, scope_id, meter, period_start, period_end, max_amount)
         SELECT $1, s.scope, $2, m.meter, $3, $4, p.max_amount
         FROM (SELECT CASE WHEN $2 = $1 THEN 'tenant' ELSE 'user' END) s (scope)
         CROSS JOIN unnest($5::text[]) m (meter)
         LEFT JOIN plan_quotas p ON p.scope = s.scope AND p.meter = m.meter
              AND p.plan = (SELECT plan FROM tenants WHERE tenant_id = $1)
         ORDER BY m.meter
         ON CONFLICT DO NOTHING",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(scope_id)
    .bind::<Timestamptz, _>(period.start)
    .bind::<Timestamptz, _>(period.end)
    .bind::<Array<Text>, _>(crate::types::Meter::ALL.map(|meter| meter.as_str()).to_vec())
    .execute(conn)
    .await?;
    Ok(())
}

/// Moves the counters of both scopes, in lock order: `changes` are (meter, used, reserved).
pub async fn shift(
    conn: &mut Conn,
    tenant: TenantId,
    user: UserId,
    period_start: DateTime<Utc>,
    changes: &[(&str, i64, i64)],
) -> QueryResult<usize> {
    let meters: Vec<&str> = changes.iter().map(|change| change.0).collect();
    let used: Vec<i64> = changes.iter().map(|change| change.1).collect();
    let reserved: Vec<i64> = changes.iter().map(|change| change.2).collect();
    diesel::sql_query(
        "WITH rows AS MATERIALIZED (
           SELECT scope, scope_id, meter FROM quotas
           WHERE tenant_id = $1 AND period_start = $3 AND scope_id IN ($1, $2)
             AND meter = ANY($4)
           ORDER BY scope, scope_id, meter FOR UPDATE)
         UPDATE quotas q SET used = q.used + c.used, reserved = q.reserved + c.reserved
         FROM rows, unnest($4::text[], $5::bigint[], $6::bigint[]) c (meter, used, reserved)
         WHERE q.tenant_id = $1 AND q.period_start = $3 AND q.scope = rows.scope
           AND q.scope_id = rows.scope_id AND q.meter = rows.meter AND c.meter = rows.meter",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(user)
    .bind::<Timestamptz, _>(period_start)
    .bind::<Array<Text>, _>(meters)
    .bind::<Array<BigInt>, _>(used)
    .bind::<Array<BigInt>, _>(reserved)
    .execute(conn)
    .await
}

#[derive(QueryableByName)]
struct Month {
    #[diesel(sql_type = Timestamptz)]
    start: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    end: DateTime<Utc>,
}

/// The calendar month (UTC) that the database's clock is in: nodes need not agree on the time.
pub async fn current_period(conn: &mut Conn) -> QueryResult<Period> {
    let month: Month = diesel::sql_query(
        "SELECT m AT TIME ZONE 'UTC' AS start, (m + interval '1 month') AT TIME ZONE 'UTC' AS \"end\"
         FROM date_trunc('month', now() AT TIME ZONE 'UTC') m",
    )
    .get_result(conn)
    .await?;
    Ok(Period { start: month.start, end: month.end })
}

/// A limit of its own for one scope and meter in a period: an override by the operator.
pub async fn set_limit(
    conn: &mut Conn,
    tenant: TenantId,
    scope_id: uuid::Uuid,
    meter: &str,
    period_start: DateTime<Utc>,
    limit: Option<i64>,
) -> QueryResult<usize> {
    diesel::sql_query(
        "UPDATE quotas SET max_amount = $5
         WHERE tenant_id = $1 AND scope_id = $2 AND meter = $3 AND period_start = $4",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(scope_id)
    .bind::<Text, _>(meter)
    .bind::<Timestamptz, _>(period_start)
    .bind::<Nullable<BigInt>, _>(limit)
    .execute(conn)
    .await
}
