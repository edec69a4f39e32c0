//! The durable copy of a turn's log: JSON lines, one part a line, from `first_offset` on.

use super::Conn;
use super::schema::{citations, turn_segments};
use super::sql::{Kept, sql};
use crate::types::{DocumentId, NodeId, TenantId, TurnId};
use diesel::prelude::*;
use diesel::sql_types::{Array, Double, Integer, Text, Uuid};
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;

/// A run of parts.
#[derive(Clone, Debug, QueryableByName)]
#[diesel(table_name = turn_segments)]
pub struct Segment {
    pub first_offset: i32,
    pub parts: String,
}

/// Parts of a log that are new, as JSON lines.
pub struct Run {
    pub turn: TurnId,
    pub first_offset: i32,
    pub parts: String,
}

/// Writes what is new of several turns' logs; of those that `owner` runs, which are held until the end of the
/// transaction. Of two runs from the same offset the longer one stays: what was given up because it took too long, and
/// written again with more, may come later all the same.
pub async fn append(
    mut conn: &Conn,
    tenant: TenantId,
    owner: NodeId,
    runs: &[&Run],
) -> QueryResult<()> {
    let turns: Vec<TurnId> = runs.iter().map(|run| run.turn).collect();
    let offsets: Vec<i32> = runs.iter().map(|run| run.first_offset).collect();
    let parts: Vec<&str> = runs.iter().map(|run| run.parts.as_str()).collect();
    sql("INSERT INTO turn_segments (tenant_id, turn_id, first_offset, parts)
         SELECT $1, held.id, run.first_offset, run.parts
         FROM unnest($2, $3, $4) run (turn_id, first_offset, parts)
         JOIN (SELECT id FROM turns WHERE tenant_id = $1 AND id = ANY($2) AND owner = $5 AND state = 'running'
               ORDER BY id FOR SHARE) held ON held.id = run.turn_id
         ON CONFLICT (tenant_id, turn_id, first_offset) DO UPDATE SET parts = excluded.parts
           WHERE octet_length(turn_segments.parts) < octet_length(excluded.parts)")
    .bind::<Uuid, _>(tenant)
    .bind::<Array<Uuid>, _>(turns)
    .bind::<Array<Integer>, _>(offsets)
    .bind::<Array<Text>, _>(parts)
    .bind::<Uuid, _>(owner)
    .execute(&mut conn)
    .await?;
    Ok(())
}

/// Writes a segment. Written again, the later one, which can only be longer, takes its place.
pub async fn insert(
    mut conn: &Conn,
    tenant: TenantId,
    turn: TurnId,
    first_offset: i32,
    parts: &str,
) -> QueryResult<()> {
    let insert = diesel::insert_into(turn_segments::table)
        .values((
            turn_segments::tenant_id.eq(tenant),
            turn_segments::turn_id.eq(turn),
            turn_segments::first_offset.eq(first_offset),
            turn_segments::parts.eq(parts),
        ))
        .on_conflict((
            turn_segments::tenant_id,
            turn_segments::turn_id,
            turn_segments::first_offset,
        ))
        .do_update()
        .set(turn_segments::parts.eq(excluded(turn_segments::parts)));
    Kept(insert).execute(&mut conn).await?;
    Ok(())
}

/// Deletes the logs of turns that ended longer than `seconds` ago. Needs a system transaction.
pub async fn delete_old(conn: &mut Conn, seconds: f64) -> QueryResult<usize> {
    sql("DELETE FROM turn_segments s USING turns t
         WHERE t.tenant_id = s.tenant_id AND t.id = s.turn_id
           AND t.ended_at < now() - make_interval(secs => $1)")
    .bind::<Double, _>(seconds)
    .execute(conn)
    .await
}

/// The segments from the one that holds offset `from` on, in order.
pub async fn load(
    conn: &mut Conn,
    tenant: TenantId,
    turn: TurnId,
    from: i32,
) -> QueryResult<Vec<Segment>> {
    sql("SELECT first_offset, parts FROM turn_segments
         WHERE tenant_id = $1 AND turn_id = $2 AND first_offset >= coalesce(
           (SELECT max(first_offset) FROM turn_segments
             WHERE tenant_id = $1 AND turn_id = $2 AND first_offset <= $3), 0)
         ORDER BY first_offset")
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(turn)
    .bind::<Integer, _>(from)
    .load(conn)
    .await
}

/// Deletes the log of a turn: the document it quotes went while the answer streamed.
pub async fn delete(mut conn: &Conn, tenant: TenantId, turn: TurnId) -> QueryResult<()> {
    let of_turn = turn_segments::tenant_id.eq(tenant).and(turn_segments::turn_id.eq(turn));
    diesel::delete(turn_segments::table.filter(of_turn)).execute(&mut conn).await?;
    Ok(())
}

/// Deletes the logs that quote a document: they go when it goes. Answers stay. Returns the turns
/// that cite it.
pub async fn delete_quoting(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
) -> QueryResult<Vec<TurnId>> {
    let of_document = citations::tenant_id.eq(tenant).and(citations::document_id.eq(document));
    let turns: Vec<TurnId> = citations::table
        .filter(of_document)
        .select(citations::turn_id)
        .distinct()
        .load(conn)
        .await?;
    let quoting = turn_segments::tenant_id.eq(tenant).and(turn_segments::turn_id.eq_any(&turns));
    diesel::delete(turn_segments::table.filter(quoting)).execute(conn).await?;
    Ok(turns)
}
