//! Questions to the books whose right answer is nothing. Each answer is a sentence that says where to
//! look. They read the whole ledger: ask them in a ledger transaction without a deadline.

use super::Conn;
use super::sql::sql;
use crate::types::TenantId;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Double, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

/// Where a tenant's chain ends, and where the part of it that is to be read begins.
#[derive(Clone, Debug, QueryableByName)]
pub struct Chain {
    #[diesel(sql_type = Uuid)]
    pub tenant_id: TenantId,
    /// The last row before that part.
    #[diesel(sql_type = BigInt)]
    pub from_seq: i64,
    #[diesel(sql_type = Binary)]
    pub from_hash: Vec<u8>,
    /// The end, by `ledger_heads`.
    #[diesel(sql_type = BigInt)]
    pub tenant_seq: i64,
    #[diesel(sql_type = Binary)]
    pub hash: Vec<u8>,
}

/// The chains of all tenants or of one, to be read on after the number `since`.
pub async fn chains(
    conn: &mut Conn,
    tenant: Option<TenantId>,
    since: i64,
) -> QueryResult<Vec<Chain>> {
    sql("SELECT h.tenant_id, coalesce(s.tenant_seq, h.base_seq) AS from_seq,
                coalesce(s.hash, h.base_hash) AS from_hash, h.tenant_seq, h.hash
         FROM ledger_heads h
         LEFT JOIN LATERAL (
           SELECT s.tenant_seq, s.hash FROM ledger_seals s
           WHERE s.tenant_id = h.tenant_id AND s.tenant_seq > h.base_seq AND s.ledger_seq <= $2
           ORDER BY s.tenant_seq DESC LIMIT 1) s ON true
         WHERE $1 IS NULL OR h.tenant_id = $1")
    .bind::<Nullable<Uuid>, _>(tenant)
    .bind::<BigInt, _>(since)
    .load(conn)
    .await
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    what: String,
}

async fn ask(conn: &mut Conn, text: &str, tenant: Option<TenantId>) -> QueryResult<Vec<String>> {
    let found = sql(text).bind::<Nullable<Uuid>, _>(tenant);
    let rows: Vec<Found> = found.load(conn).await?;
    Ok(rows.into_iter().map(|row| row.what).collect())
}

/// Rows that no sealer will ever see: older than a minute, without a seal, and in no batch.
pub async fn forgotten(conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<Vec<String>> {
    let text =
        "SELECT format('row %s of tenant %s is not sealed and waits in no batch: see usage_ledger',
                             l.event_id, l.tenant_id) AS what
         FROM usage_ledger l
         WHERE ($1 IS NULL OR l.tenant_id = $1) AND l.occurred_at < now() - interval '1 minute'
           AND NOT EXISTS (SELECT FROM ledger_seals s WHERE s.tenant_id = l.tenant_id
                           AND s.event_id = l.event_id AND s.month = l.month)
           AND NOT EXISTS (SELECT FROM ledger_batches b WHERE b.tenant_id = l.tenant_id
                           AND b.month = l.month AND l.event_id = ANY (b.event_ids))
         LIMIT 100";
    ask(conn, text, tenant).await
}

/// Rows that came into a month after it was closed.
pub async fn late(conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<Vec<String>> {
    let text = "SELECT format('row %s of tenant %s came into the month of %s after that was closed at %s: see usage_ledger',
                             l.event_id, l.tenant_id, l.period_start, c.closed_at) AS what
         FROM quota_counters c
         JOIN usage_ledger l ON l.tenant_id = c.tenant_id AND l.period_start = c.period_start
           AND l.occurred_at > c.closed_at
         WHERE ($1 IS NULL OR c.tenant_id = $1) AND c.period = 'month' AND c.scope = 'tenant'
           AND c.slice = 0 AND c.closed_at IS NOT NULL
         LIMIT 100";
    ask(conn, text, tenant).await
}

/// Reservations that should have been settled: the sweeper does it when their time is over.
pub async fn overdue(conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<Vec<String>> {
    let text = "SELECT format('the reservation of turn %s of tenant %s is open since %s, and should have ended at %s: see reservations',
                             turn_id, tenant_id, created_at, expires_at) AS what
         FROM reservations
         WHERE state = 'open' AND expires_at < now() - interval '1 minute' AND ($1 IS NULL OR tenant_id = $1)
         LIMIT 100";
    ask(conn, text, tenant).await
}

/// Days whose summary is not the sum of their rows, as far back as every day is kept whole.
pub async fn daily(conn: &mut Conn, tenant: Option<TenantId>) -> QueryResult<Vec<String>> {
    let text = "
         WITH whole AS (SELECT (kept_from AT TIME ZONE 'UTC')::date + 1 AS after FROM ledger_state),
         sums AS (
           SELECT s.tenant_id, s.day,
                  coalesce(l.user_id, '00000000-0000-0000-0000-000000000000') AS user_id,
                  coalesce(l.assistant_id, '00000000-0000-0000-0000-000000000000') AS assistant_id,
                  coalesce(l.model, '') AS model, l.meter, sum(l.quantity) AS quantity,
                  coalesce(sum(l.quantity) FILTER (WHERE l.cost_nano_usd IS NULL), 0) AS unpriced,
                  coalesce(sum(l.cost_nano_usd), 0) AS cost, count(*) AS events
           FROM ledger_seals s
           JOIN usage_ledger l ON l.tenant_id = s.tenant_id AND l.event_id = s.event_id AND l.month = s.month
           WHERE ($1 IS NULL OR s.tenant_id = $1) AND s.day > (SELECT after FROM whole)
           GROUP BY 1, 2, 3, 4, 5, 6),
         days AS (
           SELECT * FROM usage_daily
           WHERE ($1 IS NULL OR tenant_id = $1) AND day > (SELECT after FROM whole))
         SELECT format('%s of %s, user %s, model ''%s'', tenant %s: usage_daily says %s (cost %s, %s rows), the ledger %s (cost %s, %s rows)',
                       meter, day, user_id, model, tenant_id, d.quantity, d.cost_nano_usd, d.events,
                       s.quantity, s.cost, s.events) AS what
         FROM sums s FULL JOIN days d USING (tenant_id, day, user_id, assistant_id, model, meter)
         WHERE (s.quantity, s.unpriced, s.cost, s.events)
           IS DISTINCT FROM (d.quantity, d.unpriced, d.cost_nano_usd, d.events)
         LIMIT 100";
    ask(conn, text, tenant).await
}

/// Counters that differ from the ledger or from the open reservations, in periods that began in the
/// last `days`; infinity is all periods.
pub async fn counters(
    conn: &mut Conn,
    tenant: Option<TenantId>,
    days: f64,
) -> QueryResult<Vec<String>> {
    let rows: Vec<Found> = sql(
        "SELECT format('%s of %s %s, %s of %s: used %s, the ledger says %s; reserved %s, open are %s: see quota_counters',
                       meter, scope, scope_id, period, period_start, used, ledger, reserved, open_reservations) AS what
         FROM billing.differences($1, CASE WHEN $2 = 'Infinity' THEN '-infinity'
           ELSE now() - make_interval(secs => $2 * 86400) END)
         LIMIT 100",
    )
    .bind::<Nullable<Uuid>, _>(tenant)
    .bind::<Double, _>(days)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.what).collect())
}
