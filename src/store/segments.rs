//! The durable copy of a turn's log: JSON lines, one part a line, from `first_offset` on.

use super::Conn;
use super::schema::turn_segments;
use crate::types::{DocumentId, TenantId, TurnId};
use diesel::prelude::*;
use diesel::sql_types::Uuid;
use diesel_async::RunQueryDsl;

/// A run of parts.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = turn_segments)]
pub struct Segment {
    pub first_offset: i32,
    pub parts: String,
}

/// Writing the same segment twice changes nothing.
pub async fn insert(
    conn: &mut Conn,
    tenant: TenantId,
    turn: TurnId,
    first_offset: i32,
    parts: &str,
) -> QueryResult<()> {
    diesel::insert_into(turn_segments::table)
        .values((
            turn_segments::tenant_id.eq(tenant),
            turn_segments::turn_id.eq(turn),
            turn_segments::first_offset.eq(first_offset),
            turn_segments::parts.eq(parts),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}

/// The segments that begin at `from` or later, in order.
pub async fn load(
    conn: &mut Conn,
    tenant: TenantId,
    turn: TurnId,
    from: i32,
) -> QueryResult<Vec<Segment>> {
    turn_segments::table
        .filter(
            turn_segments::tenant_id
                .eq(tenant)
                .and(turn_segments::turn_id.eq(turn))
                .and(turn_segments::first_offset.ge(from)),
        )
        .order(turn_segments::first_offset)
        .select(Segment::as_select())
        .load(conn)
        .await
}

/// Deletes the log of a turn: the document it quotes went while the answer streamed.
pub async fn delete(conn: &mut Conn, tenant: TenantId, turn: TurnId) -> QueryResult<()> {
    let of_turn = turn_segments::tenant_id.eq(tenant).and(turn_segments::turn_id.eq(turn));
    diesel::delete(turn_segments::table.filter(of_turn)).execute(conn).await?;
    Ok(())
}

/// Deletes the logs that quote a document: they go when it goes. Answers stay.
pub async fn delete_quoting(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
) -> QueryResult<()> {
    diesel::sql_query(
        "DELETE FROM turn_segments WHERE tenant_id = $1 AND turn_id IN (
           SELECT turn_id FROM citations WHERE tenant_id = $1 AND document_id = $2)",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(document)
    .execute(conn)
    .await?;
    Ok(())
}
