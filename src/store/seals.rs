//! Seals: the number and the hash of each row of the ledger, where each tenant's chain ends, and what
//! is not sealed yet. All of it needs a ledger transaction.

use super::Conn;
use super::entries::Entry;
use super::schema::ledger_seals;
use super::sql::sql;
use crate::types::TenantId;
use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Binary, Date, Uuid};
use diesel_async::RunQueryDsl;

/// What a row was sealed with.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = ledger_seals)]
pub struct Seal {
    pub tenant_id: TenantId,
    pub tenant_seq: i64,
    pub month: NaiveDate,
    pub event_id: uuid::Uuid,
    pub ledger_seq: i64,
    /// The day of `usage_daily` it was added to.
    pub day: NaiveDate,
    pub hash: Vec<u8>,
}

/// A row that waited.
#[derive(Debug, QueryableByName)]
pub struct Waiting {
    #[diesel(embed)]
    pub entry: Entry,
    /// The day it counts in. A day is named by its middle: then it does not matter much that a time
    /// zone was changed.
    #[diesel(sql_type = Date)]
    pub day: NaiveDate,
    /// How many batches were taken in all.
    #[diesel(sql_type = BigInt)]
    pub batches: i64,
}

/// Takes the oldest batches and returns their rows, in order. The lateral limit keeps PostgreSQL to
/// the index, however large the ledger is.
pub async fn take(conn: &mut Conn, batches: i64) -> QueryResult<Vec<Waiting>> {
    sql("WITH taken AS (
           DELETE FROM ledger_batches
             WHERE id = ANY (ARRAY(SELECT id FROM ledger_batches ORDER BY id LIMIT $1))
             RETURNING id, tenant_id, month, event_ids)
         SELECT l.*, ((l.day_start + interval '12 hours') AT TIME ZONE z.time_zone)::date AS day,
                (SELECT count(*) FROM taken) AS batches
         FROM taken b
         JOIN tenants z ON z.tenant_id = b.tenant_id
         CROSS JOIN LATERAL unnest(b.event_ids) WITH ORDINALITY e (event_id, place)
         CROSS JOIN LATERAL (
           SELECT * FROM usage_ledger u
           WHERE u.tenant_id = b.tenant_id AND u.event_id = e.event_id AND u.month = b.month
             AND NOT EXISTS (SELECT FROM ledger_seals s WHERE s.tenant_id = u.tenant_id
                             AND s.event_id = u.event_id AND s.month = u.month)
           LIMIT 1) l
         ORDER BY b.id, e.place")
    .bind::<BigInt, _>(batches)
    .load(conn)
    .await
}

/// Seals rows, all at once.
pub async fn insert(conn: &mut Conn, seals: &[Seal]) -> QueryResult<usize> {
    sql("INSERT INTO ledger_seals (tenant_id, tenant_seq, month, event_id, ledger_seq, day, hash)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)")
    .bind::<Array<Uuid>, _>(seals.iter().map(|seal| seal.tenant_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(seals.iter().map(|seal| seal.tenant_seq).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(seals.iter().map(|seal| seal.month).collect::<Vec<_>>())
    .bind::<Array<Uuid>, _>(seals.iter().map(|seal| seal.event_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(seals.iter().map(|seal| seal.ledger_seq).collect::<Vec<_>>())
    .bind::<Array<Date>, _>(seals.iter().map(|seal| seal.day).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(seals.iter().map(|seal| seal.hash.as_slice()).collect::<Vec<_>>())
    .execute(conn)
    .await
}

/// The end of a tenant's chain.
#[derive(Clone, Debug, QueryableByName)]
pub struct Head {
    #[diesel(sql_type = Uuid)]
    pub tenant_id: TenantId,
    #[diesel(sql_type = BigInt)]
    pub tenant_seq: i64,
    #[diesel(sql_type = Binary)]
    pub hash: Vec<u8>,
}

/// Where the chains of these tenants end; one that has not begun is missing.
pub async fn heads(conn: &mut Conn, tenants: &[TenantId]) -> QueryResult<Vec<Head>> {
    let text = "SELECT tenant_id, tenant_seq, hash FROM ledger_heads WHERE tenant_id = ANY ($1)";
    sql(text).bind::<Array<Uuid>, _>(tenants.to_vec()).load(conn).await
}

/// Moves the ends of chains; a new chain begins with `genesis`.
pub async fn move_heads(
    conn: &mut Conn,
    heads: &[Head],
    genesis: impl Fn(TenantId) -> Vec<u8>,
) -> QueryResult<usize> {
    sql(
        "INSERT INTO ledger_heads (tenant_id, tenant_seq, hash, base_hash)
         SELECT * FROM unnest($1, $2, $3, $4)
         ON CONFLICT (tenant_id) DO UPDATE SET tenant_seq = excluded.tenant_seq, hash = excluded.hash",
    )
    .bind::<Array<Uuid>, _>(heads.iter().map(|head| head.tenant_id).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(heads.iter().map(|head| head.tenant_seq).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(heads.iter().map(|head| head.hash.as_slice()).collect::<Vec<_>>())
    .bind::<Array<Binary>, _>(heads.iter().map(|head| genesis(head.tenant_id)).collect::<Vec<_>>())
    .execute(conn)
    .await
}
