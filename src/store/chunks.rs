//! The pieces of documents that retrieval returns.

use super::Conn;
use super::schema::chunks;
use super::sql::sql;
use crate::types::{ChunkId, DocumentId, TenantId};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

#[derive(Insertable)]
#[diesel(table_name = chunks)]
pub struct NewChunk<'a> {
    pub tenant_id: TenantId,
    pub id: ChunkId,
    pub document_id: DocumentId,
    pub seq: i32,
    pub page: i32,
    pub page_end: i32,
    pub tokens: i32,
    pub content: &'a str,
}

/// A chunk with the name of its document.
#[derive(Clone, Debug, QueryableByName)]
pub struct FoundChunk {
    #[diesel(sql_type = Uuid)]
    pub id: ChunkId,
    #[diesel(sql_type = Uuid)]
    pub document_id: DocumentId,
    #[diesel(sql_type = Text)]
    pub file_name: String,
    #[diesel(sql_type = Text)]
    pub media_type: String,
    #[diesel(sql_type = Integer)]
    pub seq: i32,
    #[diesel(sql_type = Integer)]
    pub page: i32,
    #[diesel(sql_type = Integer)]
    pub page_end: i32,
    #[diesel(sql_type = Integer)]
    pub tokens: i32,
    #[diesel(sql_type = Text)]
    pub content: String,
}

/// Deletes what an earlier attempt left, embeddings included.
pub async fn delete(conn: &mut Conn, tenant: TenantId, document: DocumentId) -> QueryResult<()> {
    diesel::delete(
        chunks::table.filter(chunks::tenant_id.eq(tenant).and(chunks::document_id.eq(document))),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Inserts in statements of a thousand rows.
pub async fn insert(conn: &mut Conn, rows: &[NewChunk<'_>]) -> QueryResult<()> {
    for batch in rows.chunks(1000) {
        diesel::insert_into(chunks::table).values(batch).execute(conn).await?;
    }
    Ok(())
}

/// The given chunks of ready documents, in no order.
pub async fn load(
    mut conn: &Conn,
    tenant: TenantId,
    ids: &[ChunkId],
) -> QueryResult<Vec<FoundChunk>> {
    sql("SELECT * FROM load_chunks($1, $2)")
        .bind::<Uuid, _>(tenant)
        .bind::<Array<Uuid>, _>(ids)
        .load(&mut conn)
        .await
}

#[derive(QueryableByName)]
struct Hit {
    #[diesel(sql_type = Uuid)]
    id: ChunkId,
}

/// Full-text search, best first, in the tenant of the transaction: any of the question's words counts, as a
/// question is no list of words that must all be there; the rarer it is, the more. Its work is bounded: the
/// migration of `search_chunks` says how.
pub async fn search(
    mut conn: &Conn,
    question: &str,
    limit: i32,
    collections: &[String],
) -> QueryResult<Vec<ChunkId>> {
    let hits: Vec<Hit> = sql("SELECT id FROM search_chunks($1, $2, $3) ORDER BY score DESC, id")
        .bind::<Text, _>(question)
        .bind::<Integer, _>(limit)
        .bind::<Array<Text>, _>(collections)
        .load(&mut conn)
        .await?;
    Ok(hits.into_iter().map(|hit| hit.id).collect())
}

/// Looks which words are common in the transaction's tenant, if its chunks have become more or fewer by a
/// fifth since it was looked at. Searches need it to stay fast.
pub async fn count_words(conn: &mut Conn) -> QueryResult<()> {
    sql("SELECT count_words()").execute(conn).await?;
    Ok(())
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = Nullable<BigInt>)]
    n: Option<i64>,
}

/// How many chunks a tenant has.
pub async fn count(conn: &mut Conn, tenant: TenantId) -> QueryResult<i64> {
    let count: Count = sql("SELECT count(*) AS n FROM chunks WHERE tenant_id = $1")
        .bind::<Uuid, _>(tenant)
        .get_result(conn)
        .await?;
    Ok(count.n.unwrap_or(0))
}
