//! The passages an answer was given, as numbered in its prompt.

use super::Conn;
use super::schema::citations;
use crate::types::{DocumentId, TenantId, TurnId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = citations)]
pub struct Citation {
    pub tenant_id: TenantId,
    pub turn_id: TurnId,
    /// Counted from 1; the answer writes it as `[1]`.
    pub index: i32,
    pub document_id: DocumentId,
    pub file_name: String,
    pub page: i32,
    pub page_end: i32,
    pub snippet: String,
    pub score: f32,
}

/// Skips passages of documents that were deleted while the answer streamed; returns whether all
/// documents were there.
pub async fn insert(conn: &mut Conn, rows: &[Citation]) -> QueryResult<bool> {
    use super::schema::documents;
    let mut all_there = true;
    for row in rows {
        // The lock keeps a deletion from slipping in between the look and the insert.
        let there: Option<DocumentId> = documents::table
            .find((row.tenant_id, row.document_id))
            .select(documents::id)
            .for_key_share()
            .first(conn)
            .await
            .optional()?;
        all_there &= there.is_some();
        if there.is_some() {
            diesel::insert_into(citations::table)
                .values(row)
                .on_conflict_do_nothing()
                .execute(conn)
                .await?;
        }
    }
    Ok(all_there)
}

/// Those of several turns, by turn and number.
pub async fn of_turns(
    conn: &mut Conn,
    tenant: TenantId,
    turns: &[TurnId],
) -> QueryResult<Vec<Citation>> {
    citations::table
        .filter(citations::tenant_id.eq(tenant).and(citations::turn_id.eq_any(turns)))
        .order((citations::turn_id, citations::index))
        .select(Citation::as_select())
        .load(conn)
        .await
}
