//! The server processes, each alive as long as it renews its lease.

use super::Conn;
use super::sql::sql;
use crate::types::{NodeId, TenantId, TurnId};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Uuid};
use diesel_async::RunQueryDsl;

/// How long a node may be silent before its turns are taken from it, in seconds.
pub const LEASE_SECONDS: f64 = 10.0;

/// Renews the lease of a node, or registers it. Needs a system transaction.
pub async fn renew(conn: &mut Conn, node: NodeId) -> QueryResult<()> {
    sql("INSERT INTO nodes (id, lease_until) VALUES ($1, now() + make_interval(secs => $2))
         ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until")
    .bind::<Uuid, _>(node)
    .bind::<Double, _>(LEASE_SECONDS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the lease of a node that goes: nobody has to wait for it to run out. Needs a system
/// transaction.
pub async fn leave(conn: &mut Conn, node: NodeId) -> QueryResult<()> {
    sql("UPDATE nodes SET lease_until = '-infinity' WHERE id = $1")
        .bind::<Uuid, _>(node)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends every lease at once: the caller knows that no other node lives (`docent dev`). Needs a
/// system transaction.
pub async fn expire_all(conn: &mut Conn) -> QueryResult<usize> {
    sql("UPDATE nodes SET lease_until = '-infinity'").execute(conn).await
}

/// Forgets nodes that have been gone for an hour. Needs a system transaction.
pub async fn delete_gone(conn: &mut Conn) -> QueryResult<usize> {
    sql("DELETE FROM nodes WHERE lease_until < now() - interval '1 hour'").execute(conn).await
}

/// A turn that a node runs.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct OwnTurn {
    #[diesel(sql_type = Uuid)]
    pub id: TurnId,
    /// Somebody asked another node to stop it.
    #[diesel(sql_type = Bool)]
    pub stop_requested: bool,
}

/// The running turns that belong to a node. Needs a system transaction.
pub async fn turns_of(conn: &mut Conn, node: NodeId) -> QueryResult<Vec<OwnTurn>> {
    sql("SELECT id, stop_requested FROM turns WHERE owner = $1 AND state = 'running'")
        .bind::<Uuid, _>(node)
        .load(conn)
        .await
}

#[derive(QueryableByName)]
struct Orphan {
    #[diesel(sql_type = Uuid)]
    tenant_id: TenantId,
    #[diesel(sql_type = Uuid)]
    id: TurnId,
}

/// True of a turn `t` whose node is dead, or that has run for longer than any may: then its node has
/// lost it, and what it reserved would be held for ever. A database that was restarted gives every node the time of
/// a lease to come back: none of them could renew while it was away.
const ORPHANED: &str = "(t.created_at < now() - interval '20 minutes' OR NOT EXISTS (SELECT FROM nodes n WHERE n.id = t.owner
       AND n.lease_until <> '-infinity'
       AND greatest(n.lease_until, pg_postmaster_start_time() + make_interval(secs => $1)) >= now()))";

/// Running turns whose node is dead or has lost them. Who asks is alive, however old its lease is. Needs
/// a system transaction.
pub async fn orphans(
    conn: &mut Conn,
    asker: NodeId,
    limit: i64,
) -> QueryResult<Vec<(TenantId, TurnId)>> {
    let text = format!(
        "SELECT tenant_id, id FROM turns t
         WHERE state = 'running' AND owner <> $3 AND {ORPHANED} LIMIT $2"
    );
    let rows: Vec<Orphan> = sql(text)
        .bind::<Double, _>(LEASE_SECONDS)
        .bind::<BigInt, _>(limit)
        .bind::<Uuid, _>(asker)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.tenant_id, row.id)).collect())
}

/// Locks a turn whose node is (still) dead; false when it is not, or somebody else closes it.
pub async fn lock_orphan(conn: &mut Conn, tenant: TenantId, turn: TurnId) -> QueryResult<bool> {
    let text = format!(
        "SELECT tenant_id, id FROM turns t WHERE tenant_id = $2 AND id = $3 AND state = 'running'
         AND {ORPHANED} FOR UPDATE SKIP LOCKED"
    );
    let locked: Option<Orphan> = sql(text)
        .bind::<Double, _>(LEASE_SECONDS)
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(turn)
        .get_result(conn)
        .await
        .optional()?;
    Ok(locked.is_some())
}
