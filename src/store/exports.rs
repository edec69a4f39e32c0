//! How far each exporter is, who may export, and what a vendor refused. All of it needs a ledger
//! transaction ([`super::Db::ledger`]).
//!
//! A cursor moves on only past rows that are decided, and only in the hands of the node that holds its
//! lease: two nodes never export the same rows by design.

use super::Conn;
use super::schema::{export_customers, export_parked};
use super::sql::sql;
use crate::types::{NodeId, TenantId};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Integer, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

/// A cursor in the hands of the node that claimed it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Claimed {
    /// Everything up to here is decided.
    #[diesel(sql_type = BigInt)]
    pub ledger_seq: i64,
    /// Up to here the vendor may have rows without our having heard of it.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub doubt_seq: Option<i64>,
    /// How long ago they were sent first.
    #[diesel(sql_type = Nullable<Double>)]
    pub doubt_seconds: Option<f64>,
    /// Failures in a row.
    #[diesel(sql_type = Integer)]
    pub failures: i32,
}

/// Takes the lease of an exporter or extends one's own; `None` when another node has it, or the
/// exporter pauses or is disabled. The cursor's row stays locked until the transaction ends.
pub async fn claim(
    conn: &mut Conn,
    exporter: &str,
    owner: NodeId,
    lease_seconds: f64,
) -> QueryResult<Option<Claimed>> {
    sql("INSERT INTO export_cursors (exporter) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind::<Text, _>(exporter)
        .execute(conn)
        .await?;
    sql(
        "UPDATE export_cursors SET lease_owner = $2, lease_until = now() + make_interval(secs => $3)
         WHERE exporter = $1 AND NOT disabled AND not_before <= now()
           AND (lease_owner = $2 OR lease_until < now())
         RETURNING ledger_seq, doubt_seq, failures,
                   extract(epoch FROM now() - doubt_since)::float8 AS doubt_seconds",
    )
    .bind::<Text, _>(exporter)
    .bind::<Uuid, _>(owner)
    .bind::<Double, _>(lease_seconds)
    .get_result(conn)
    .await
    .optional()
}

/// Notes, before anything is sent, that the vendor may have rows up to `upto` from now on.
pub async fn begin(conn: &mut Conn, exporter: &str, upto: i64) -> QueryResult<()> {
    sql("UPDATE export_cursors SET doubt_seq = $2, doubt_since = now()
         WHERE exporter = $1 AND doubt_seq IS NULL")
    .bind::<Text, _>(exporter)
    .bind::<BigInt, _>(upto)
    .execute(conn)
    .await?;
    Ok(())
}

/// How a round ended.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    pub exporter: &'a str,
    pub owner: NodeId,
    /// The new place of the cursor.
    pub ledger_seq: i64,
    /// Up to here the vendor may have rows beyond the cursor.
    pub doubt_seq: Option<i64>,
    /// Why it stopped.
    pub error: Option<&'a str>,
    /// Nothing is sent for so long.
    pub pause_seconds: f64,
    /// The receiver wants no more.
    pub disabled: bool,
}

/// Moves the cursor on; false when the lease was lost, and nothing moved.
pub async fn advance(conn: &mut Conn, progress: &Progress<'_>) -> QueryResult<bool> {
    let rows = sql("UPDATE export_cursors
         SET ledger_seq = $3, doubt_seq = $4, last_error = $5, disabled = $7, updated_at = now(),
             doubt_since = CASE WHEN $4::bigint IS NOT NULL THEN coalesce(doubt_since, now()) END,
             failures = CASE WHEN $5::text IS NULL THEN 0 ELSE failures + 1 END,
             not_before = now() + make_interval(secs => $6)
         WHERE exporter = $1 AND lease_owner = $2")
    .bind::<Text, _>(progress.exporter)
    .bind::<Uuid, _>(progress.owner)
    .bind::<BigInt, _>(progress.ledger_seq)
    .bind::<Nullable<BigInt>, _>(progress.doubt_seq)
    .bind::<Nullable<Text>, _>(progress.error)
    .bind::<Double, _>(progress.pause_seconds)
    .bind::<Bool, _>(progress.disabled)
    .execute(conn)
    .await?;
    Ok(rows == 1)
}

/// Gives the lease back: the node shuts down.
pub async fn release(conn: &mut Conn, exporter: &str, owner: NodeId) -> QueryResult<()> {
    sql("UPDATE export_cursors SET lease_until = '-infinity'
         WHERE exporter = $1 AND lease_owner = $2")
    .bind::<Text, _>(exporter)
    .bind::<Uuid, _>(owner)
    .execute(conn)
    .await?;
    Ok(())
}

/// A row that was not exported.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = export_parked)]
pub struct Parked {
    pub ledger_seq: i64,
    pub event_id: uuid::Uuid,
    pub attempts: i32,
    pub error: String,
    /// It waits to be sent again.
    pub retry: bool,
}

/// Sets a row aside, or notes that it was refused once more.
pub async fn park(
    conn: &mut Conn,
    exporter: &str,
    ledger_seq: i64,
    event_id: uuid::Uuid,
    error: &str,
) -> QueryResult<()> {
    sql(
        "INSERT INTO export_parked AS p (exporter, ledger_seq, event_id, error) VALUES ($1, $2, $3, $4)
         ON CONFLICT (exporter, ledger_seq) DO UPDATE
         SET attempts = p.attempts + 1, error = excluded.error, parked_at = now(),
             retry = false, doubt_since = NULL",
    )
    .bind::<Text, _>(exporter)
    .bind::<BigInt, _>(ledger_seq)
    .bind::<Uuid, _>(event_id)
    .bind::<Text, _>(error)
    .execute(conn)
    .await?;
    Ok(())
}

/// The rows that were sent again were taken.
pub async fn unpark(conn: &mut Conn, exporter: &str, taken: &[i64]) -> QueryResult<()> {
    let of = export_parked::exporter.eq(exporter);
    let rows = export_parked::table.filter(of.and(export_parked::ledger_seq.eq_any(taken)));
    diesel::delete(rows).execute(conn).await?;
    Ok(())
}

/// Notes of parked rows that are sent again that the vendor may have them from now on.
pub async fn begin_retry(conn: &mut Conn, exporter: &str, rows: &[i64]) -> QueryResult<()> {
    sql("UPDATE export_parked SET doubt_since = coalesce(doubt_since, now())
         WHERE exporter = $1 AND ledger_seq = ANY($2)")
    .bind::<Text, _>(exporter)
    .bind::<diesel::sql_types::Array<BigInt>, _>(rows)
    .execute(conn)
    .await?;
    Ok(())
}

/// Parks again the rows whose second try has been in doubt for longer than the vendor remembers.
pub async fn give_up_retries(
    conn: &mut Conn,
    exporter: &str,
    memory_seconds: f64,
    error: &str,
) -> QueryResult<usize> {
    sql("UPDATE export_parked SET retry = false, doubt_since = NULL, error = $3, parked_at = now()
         WHERE exporter = $1 AND retry AND doubt_since < now() - make_interval(secs => $2)")
    .bind::<Text, _>(exporter)
    .bind::<Double, _>(memory_seconds)
    .bind::<Text, _>(error)
    .execute(conn)
    .await
}

/// The parked rows of an exporter, oldest first.
pub async fn parked(conn: &mut Conn, exporter: &str, limit: i64) -> QueryResult<Vec<Parked>> {
    export_parked::table
        .filter(export_parked::exporter.eq(exporter))
        .select(Parked::as_select())
        .order(export_parked::ledger_seq)
        .limit(limit)
        .load(conn)
        .await
}

/// Has parked rows sent again, one or all, at once, also by an exporter that was disabled; returns how
/// many there are.
pub async fn retry(conn: &mut Conn, exporter: &str, row: Option<i64>) -> QueryResult<usize> {
    sql("UPDATE export_cursors SET disabled = false, not_before = '-infinity' WHERE exporter = $1")
        .bind::<Text, _>(exporter)
        .execute(conn)
        .await?;
    sql("UPDATE export_parked SET retry = true
         WHERE exporter = $1 AND ($2::bigint IS NULL OR ledger_seq = $2)")
    .bind::<Text, _>(exporter)
    .bind::<Nullable<BigInt>, _>(row)
    .execute(conn)
    .await
}

/// Says what a tenant is called at a vendor.
pub async fn name_customer(
    conn: &mut Conn,
    tenant: TenantId,
    exporter: &str,
    external_id: &str,
) -> QueryResult<()> {
    diesel::insert_into(export_customers::table)
        .values((
            export_customers::tenant_id.eq(tenant),
            export_customers::exporter.eq(exporter),
            export_customers::external_id.eq(external_id),
        ))
        .on_conflict((export_customers::tenant_id, export_customers::exporter))
        .do_update()
        .set(export_customers::external_id.eq(external_id))
        .execute(conn)
        .await?;
    Ok(())
}

/// What there is to say about an exporter.
#[derive(Clone, Debug, QueryableByName)]
pub struct Overview {
    #[diesel(sql_type = Text)]
    pub exporter: String,
    #[diesel(sql_type = BigInt)]
    pub ledger_seq: i64,
    /// Rows that are not decided yet.
    #[diesel(sql_type = BigInt)]
    pub lag: i64,
    #[diesel(sql_type = BigInt)]
    pub parked: i64,
    #[diesel(sql_type = Bool)]
    pub disabled: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
}

/// Every exporter that ever ran.
pub async fn overview(conn: &mut Conn) -> QueryResult<Vec<Overview>> {
    sql("SELECT exporter, ledger_seq, disabled, last_error,
                (SELECT count(*) FROM export_parked p WHERE p.exporter = c.exporter) AS parked,
                CASE exporter
                  WHEN 'notices' THEN
                    (SELECT count(*) FROM outbox o WHERE o.seq IS NULL OR o.seq > c.ledger_seq)
                  ELSE greatest(0, coalesce((SELECT l.ledger_seq FROM billing.ledger_v1 l
                         ORDER BY l.ledger_seq DESC LIMIT 1), 0) - c.ledger_seq)
                END AS lag
         FROM export_cursors c ORDER BY exporter")
    .load(conn)
    .await
}
