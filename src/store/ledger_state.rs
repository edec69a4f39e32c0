//! The one row about the whole ledger: the last number, and until when it is complete. With the locks
//! that let one node at a time do a thing. All of it needs a ledger transaction.

use super::Conn;
use super::sql::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Text};
use diesel_async::RunQueryDsl;

/// What one node does at a time; the lock lasts as long as the transaction.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
pub enum Duty {
    /// Numbering rows, or taking months out that are no longer kept.
    Seal = 0x646f_6361,
    /// Checking the ledger.
    Verify,
    /// Making and closing months.
    Months,
}

#[derive(QueryableByName)]
struct Yes {
    #[diesel(sql_type = Bool)]
    yes: bool,
}

/// Takes a duty; false when somebody has it.
pub async fn take_duty(conn: &mut Conn, duty: Duty) -> QueryResult<bool> {
    let taken = sql("SELECT pg_try_advisory_xact_lock($1) AS yes").bind::<BigInt, _>(duty as i64);
    Ok(taken.get_result::<Yes>(conn).await?.yes)
}

/// Where numbering stands.
#[derive(Debug, QueryableByName)]
pub struct Numbering {
    /// The last number given.
    #[diesel(sql_type = BigInt)]
    pub ledger_seq: i64,
    /// Whatever ran when the mark was set has ended: all of it is among the batches, or sealed.
    #[diesel(sql_type = Bool)]
    pub mark_passed: bool,
    /// The transaction that begins next, for the next mark.
    #[diesel(sql_type = Text)]
    pub next_xid: String,
}

/// Ask before the batches are read. `now()` is when this transaction began, before it looked: who
/// has a number from `next_xid` on began to write later than that.
pub async fn numbering(conn: &mut Conn) -> QueryResult<Numbering> {
    sql(
        "SELECT ledger_seq, coalesce(pg_snapshot_xmin(pg_current_snapshot()) >= mark_xid, true) AS mark_passed,
                pg_snapshot_xmax(pg_current_snapshot())::text AS next_xid
         FROM ledger_state",
    )
    .get_result(conn)
    .await
}

/// Notes the last number. With `all_sealed`, what occurred until a mark that has passed is complete,
/// and the next mark is set.
pub async fn advance(
    conn: &mut Conn,
    numbering: &Numbering,
    ledger_seq: i64,
    all_sealed: bool,
) -> QueryResult<usize> {
    sql(
        "UPDATE ledger_state SET ledger_seq = $1,
           complete_through = CASE WHEN $2 THEN coalesce(mark_at, complete_through) ELSE complete_through END,
           mark_at = CASE WHEN $2 THEN now() ELSE mark_at END,
           mark_xid = CASE WHEN $2 THEN $3::xid8 ELSE mark_xid END",
    )
    .bind::<BigInt, _>(ledger_seq)
    .bind::<Bool, _>(all_sealed && numbering.mark_passed)
    .bind::<Text, _>(&numbering.next_xid)
    .execute(conn)
    .await
}

/// How far the ledger goes, and how far it was verified.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Extent {
    #[diesel(sql_type = BigInt)]
    pub ledger_seq: i64,
    /// Numbers up to this one may be missing: their months are no longer kept.
    #[diesel(sql_type = BigInt)]
    pub base_seq: i64,
    #[diesel(sql_type = BigInt)]
    pub verified_seq: i64,
    #[diesel(sql_type = Bool)]
    pub verification_due: bool,
}

/// `every`: seconds between two verifications.
pub async fn extent(conn: &mut Conn, every: f64) -> QueryResult<Extent> {
    sql("SELECT ledger_seq, base_seq, verified_seq,
                verified_at < now() - make_interval(secs => $1) AS verification_due
         FROM ledger_state")
    .bind::<Double, _>(every)
    .get_result(conn)
    .await
}

/// Notes that the chain was checked until `ledger_seq`.
pub async fn set_verified(conn: &mut Conn, ledger_seq: i64) -> QueryResult<usize> {
    sql("UPDATE ledger_state SET verified_seq = $1, verified_at = now()")
        .bind::<BigInt, _>(ledger_seq)
        .execute(conn)
        .await
}
