//! Vectors, one row per chunk and embedding model.

use super::collections::AMONG;
use super::schema::embeddings;
use super::schema::sql_types::Halfvec;
use super::sql::sql;
use super::{Conn, HalfVec};
use crate::types::{ChunkId, DocumentId, TenantId};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Text, Uuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

#[derive(Insertable)]
#[diesel(table_name = embeddings)]
pub struct NewEmbedding {
    pub tenant_id: TenantId,
    pub model_id: i32,
    pub chunk_id: ChunkId,
    pub document_id: DocumentId,
    pub embedding: HalfVec,
}

/// A chunk and its cosine distance to the question, 0 (same direction) to 2.
#[derive(Clone, Debug, QueryableByName)]
pub struct Neighbour {
    #[diesel(sql_type = Uuid)]
    pub chunk_id: ChunkId,
    #[diesel(sql_type = Double)]
    pub distance: f64,
    /// It lies in a partition of its tenant's own.
    #[diesel(sql_type = Bool)]
    pub apart: bool,
}

/// Inserts in statements of five hundred rows.
pub async fn insert(conn: &mut Conn, rows: &[NewEmbedding]) -> QueryResult<()> {
    for batch in rows.chunks(500) {
        diesel::insert_into(embeddings::table).values(batch).execute(conn).await?;
    }
    Ok(())
}

/// Where a neighbour lies.
const APART: &str = "tableoid <> 'embeddings_shared'::regclass AS apart";

/// The nearest chunks, nearest first. One statement serves both plans: an exact scan in the shared
/// partition, and the HNSW index where the tenant has a partition of its own. Dimensions, model and limit
/// are written out because the index is built over that expression and for that model, and because only so
/// PostgreSQL plans once for all questions; of a tenant that lies `apart` (there are few), the tenant as well.
pub async fn nearest(
    mut conn: &Conn,
    (tenant, model_id): (TenantId, i32),
    question: &HalfVec,
    limit: i64,
    apart: bool,
) -> QueryResult<Vec<Neighbour>> {
    let dimensions = question.dimensions();
    let whose = if apart { format!("'{tenant}'") } else { "$2".to_owned() };
    let nearest = sql(format!(
        "SELECT chunk_id, (embedding::halfvec({dimensions}) <=> $1::halfvec({dimensions})) AS distance, {APART}
         FROM embeddings WHERE tenant_id = {whose} AND model_id = {model_id}
         ORDER BY embedding::halfvec({dimensions}) <=> $1::halfvec({dimensions}) LIMIT {limit}"
    ));
    let nearest = nearest.bind::<Halfvec, _>(question);
    let nearest = if apart { nearest } else { nearest.bind::<Uuid, _>(tenant) };
    nearest.load(&mut conn).await
}

/// The nearest chunks of the documents in `collections`. `exact` compares all of them, which suits a few; else
/// the index, where there is one, goes on from neighbour to neighbour until it has found enough. The
/// planner cannot choose: it does not know how many vectors a collection has.
pub async fn nearest_among(
    mut conn: &Conn,
    (tenant, model_id): (TenantId, i32),
    question: &HalfVec,
    limit: i64,
    collections: &[String],
    exact: bool,
) -> QueryResult<Vec<Neighbour>> {
    let dimensions = question.dimensions();
    let distance = format!("embedding::halfvec({dimensions}) <=> $2::halfvec({dimensions})");
    let among =
        format!("FROM embeddings WHERE tenant_id = $1 AND model_id = {model_id} AND {AMONG}");
    let text = if exact {
        format!(
            "SELECT * FROM (SELECT chunk_id, ({distance}) AS distance, {APART} {among} OFFSET 0) all_of_them
             ORDER BY distance LIMIT $3"
        )
    } else {
        conn.batch_execute("SET LOCAL hnsw.iterative_scan = strict_order").await?;
        format!(
            "SELECT chunk_id, ({distance}) AS distance, {APART} {among} ORDER BY {distance} LIMIT $3"
        )
    };
    sql(text)
        .bind::<Uuid, _>(tenant)
        .bind::<Halfvec, _>(question)
        .bind::<BigInt, _>(limit)
        .bind::<Array<Text>, _>(collections)
        .load(&mut conn)
        .await
}

/// A chunk without a vector of a model, and its text.
#[derive(Clone, Debug, QueryableByName)]
pub struct Bare {
    #[diesel(sql_type = Uuid)]
    pub id: ChunkId,
    #[diesel(sql_type = Text)]
    pub content: String,
}

/// Some chunks of a document that have no vector of a model yet, in their order.
pub async fn bare(
    conn: &mut Conn,
    (tenant, document): (TenantId, DocumentId),
    model_id: i32,
    limit: i64,
) -> QueryResult<Vec<Bare>> {
    sql(
        "SELECT c.id, c.content FROM chunks c
         WHERE c.tenant_id = $1 AND c.document_id = $2 AND NOT EXISTS (
           SELECT FROM embeddings e WHERE e.tenant_id = $1 AND e.model_id = $3 AND e.chunk_id = c.id)
         ORDER BY c.seq LIMIT $4",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(document)
    .bind::<Integer, _>(model_id)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

/// How many vectors a tenant has of a model, and how many of them lie in the shared partition.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Count {
    #[diesel(sql_type = BigInt)]
    pub all: i64,
    #[diesel(sql_type = BigInt)]
    pub shared: i64,
}

/// Counts the vectors of a tenant and a model.
pub async fn count(conn: &mut Conn, tenant: TenantId, model_id: i32) -> QueryResult<Count> {
    sql("SELECT count(*) AS \"all\",
                count(*) FILTER (WHERE tableoid = 'embeddings_shared'::regclass) AS shared
         FROM embeddings WHERE tenant_id = $1 AND model_id = $2")
    .bind::<Uuid, _>(tenant)
    .bind::<Integer, _>(model_id)
    .get_result(conn)
    .await
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Bool)]
    found: bool,
}

/// A tenant's own partition of `embeddings`. All names are made of the tenant's id.
pub struct Partition {
    tenant: TenantId,
    table: String,
}

impl Partition {
    #[must_use]
    pub fn of(tenant: TenantId) -> Self {
        Self { tenant, table: format!("embeddings_{}", tenant.uuid().simple()) }
    }

    /// Makes the table, moves the tenant's rows, attaches it. Needs the owner's transaction.
    pub async fn create(&self, conn: &mut Conn) -> QueryResult<()> {
        let Self { tenant, table } = self;
        conn.batch_execute(&format!(
            "LOCK TABLE embeddings_shared IN SHARE ROW EXCLUSIVE MODE;
             CREATE TABLE {table} (LIKE embeddings INCLUDING DEFAULTS INCLUDING STORAGE);
             ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
             ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
             CREATE POLICY tenant ON {table} TO docent_app
               USING (tenant_id = (SELECT current_tenant()))
               WITH CHECK (tenant_id = (SELECT current_tenant()));
             GRANT SELECT, INSERT, DELETE ON {table} TO docent_app;
             SET LOCAL ROLE docent_app;
             SELECT set_config('docent.tenant_id', '{tenant}', true);
             INSERT INTO {table} SELECT * FROM embeddings_shared WHERE tenant_id = '{tenant}';
             DELETE FROM embeddings_shared WHERE tenant_id = '{tenant}';
             SET LOCAL ROLE NONE;
             ALTER TABLE embeddings ATTACH PARTITION {table} FOR VALUES IN ('{tenant}')"
        ))
        .await
    }

    /// Whether the index of a model is there.
    pub async fn is_indexed(&self, conn: &mut Conn, model_id: i32) -> QueryResult<bool> {
        let there: Found = sql("SELECT to_regclass($1) IS NOT NULL AS found")
            .bind::<Text, _>(format!("public.{}_{model_id}", self.table))
            .get_result(conn)
            .await?;
        Ok(there.found)
    }

    /// Takes the index of one model's vectors away. Needs the owner's transaction.
    pub async fn drop_index(&self, conn: &mut Conn, model_id: i32) -> QueryResult<()> {
        let table = &self.table;
        conn.batch_execute(&format!("DROP INDEX IF EXISTS {table}_{model_id}")).await
    }

    /// Builds the HNSW index of one model's vectors. Needs the owner's transaction.
    pub async fn index(
        &self,
        conn: &mut Conn,
        model_id: i32,
        dimensions: usize,
    ) -> QueryResult<()> {
        let table = &self.table;
        conn.batch_execute(&format!(
            "CREATE INDEX IF NOT EXISTS {table}_{model_id} ON {table}
               USING hnsw ((embedding::halfvec({dimensions})) halfvec_cosine_ops)
               WHERE model_id = {model_id}"
        ))
        .await
    }
}
