//! The passages an answer was given, as numbered in its prompt.

use super::Conn;
use super::schema::citations;
use super::sql::Kept;
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

/// Which of these documents are there; they stay until the transaction ends.
pub async fn hold(
    mut conn: &Conn,
    tenant: TenantId,
    cited: &[DocumentId],
) -> QueryResult<Vec<DocumentId>> {
    use super::schema::documents;
    if cited.is_empty() {
        return Ok(Vec::new());
    }
    documents::table
        .filter(documents::tenant_id.eq(tenant).and(documents::id.eq_any(cited)))
        .order(documents::id)
        .select(documents::id)
        .for_key_share()
        .load(&mut conn)
        .await
}

/// Inserts what cites documents that are held.
pub async fn insert(mut conn: &Conn, rows: &[Citation]) -> QueryResult<()> {
    if !rows.is_empty() {
        let insert = diesel::insert_into(citations::table).values(rows);
        Kept(insert.on_conflict_do_nothing()).execute(&mut conn).await?;
    }
    Ok(())
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
