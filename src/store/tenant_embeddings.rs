//! Which embedding model a tenant's documents have, and which one they are being moved to.
//!
//! Whoever writes vectors holds the row in share mode meanwhile, before any other lock: a model is not
//! changed under them.

use super::Conn;
use super::schema::{jobs, tenant_embeddings as rows};
use super::sql::sql;
use crate::types::TenantId;
use diesel::dsl::{exists, now};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Uuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

/// A tenant's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = rows)]
pub struct Place {
    /// Answers questions.
    pub model_id: i32,
    /// The tenant is being moved there.
    pub next_model_id: Option<i32>,
    /// Its vectors are being deleted.
    pub old_model_id: Option<i32>,
}

/// Of a move.
#[derive(Clone, Debug, QueryableByName)]
pub struct Progress {
    /// Documents that have vectors of the next model.
    #[diesel(sql_type = BigInt)]
    pub done: i64,
    /// Documents that have none yet.
    #[diesel(sql_type = BigInt)]
    pub left: i64,
    /// Those of them that were given up.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
}

impl Place {
    /// `None`: no document yet.
    pub async fn find(mut conn: &Conn, tenant: TenantId) -> QueryResult<Option<Self>> {
        rows::table.find(tenant).select(Self::as_select()).first(&mut conn).await.optional()
    }

    /// The same, held so that nobody changes it.
    pub async fn share(conn: &mut Conn, tenant: TenantId) -> QueryResult<Option<Self>> {
        let row = rows::table.find(tenant).select(Self::as_select());
        row.for_share().first(conn).await.optional()
    }

    /// The same, alone: nobody writes vectors.
    pub async fn lock(conn: &mut Conn, tenant: TenantId) -> QueryResult<Option<Self>> {
        let row = rows::table.find(tenant).select(Self::as_select());
        row.for_update().first(conn).await.optional()
    }

    /// Where the tenant is; at `model_id` when it was nowhere.
    pub async fn settle(conn: &mut Conn, tenant: TenantId, model_id: i32) -> QueryResult<Self> {
        let row = (rows::tenant_id.eq(tenant), rows::model_id.eq(model_id));
        let insert = diesel::insert_into(rows::table).values(row);
        insert.on_conflict_do_nothing().execute(conn).await?;
        rows::table.find(tenant).select(Self::as_select()).first(conn).await
    }

    /// Writes it down.
    pub async fn put(self, conn: &mut Conn, tenant: TenantId) -> QueryResult<()> {
        let values = (
            rows::model_id.eq(self.model_id),
            rows::next_model_id.eq(self.next_model_id),
            rows::old_model_id.eq(self.old_model_id),
            rows::changed_at.eq(now),
        );
        diesel::update(rows::table.find(tenant)).set(values).execute(conn).await?;
        Ok(())
    }
}

/// The tenants that are being moved or tidied up. Needs a system transaction.
pub async fn unfinished(conn: &mut Conn) -> QueryResult<Vec<TenantId>> {
    let some = rows::next_model_id.is_not_null().or(rows::old_model_id.is_not_null());
    rows::table.filter(some).select(rows::tenant_id).load(conn).await
}

/// Queues a job for each document that lacks vectors of a model and has no job for it; says how many there
/// are. It may look at every chunk, and takes its time. One that
/// was given up is tried again when `again`.
pub async fn queue(
    conn: &mut Conn,
    tenant: TenantId,
    model_id: i32,
    again: bool,
) -> QueryResult<usize> {
    conn.batch_execute("SET LOCAL statement_timeout = '5min'").await?;
    if again {
        sql("UPDATE jobs SET state = 'queued', attempts = 0, run_at = now()
             WHERE tenant_id = $1 AND kind = 'embed' AND state = 'failed'")
        .bind::<Uuid, _>(tenant)
        .execute(conn)
        .await?;
    }
    // One that is done has vectors; when chunks came later it is not.
    sql("INSERT INTO jobs (tenant_id, id, kind, document_id, max_attempts)
         SELECT c.tenant_id, gen_random_uuid(), 'embed', c.document_id, 20
         FROM (SELECT DISTINCT c.tenant_id, c.document_id FROM chunks c
               LEFT JOIN embeddings e ON e.tenant_id = $1 AND e.model_id = $2 AND e.chunk_id = c.id
               WHERE c.tenant_id = $1 AND e.chunk_id IS NULL) c
         ON CONFLICT (tenant_id, document_id) WHERE kind = 'embed'
         DO UPDATE SET state = 'queued', attempts = 0, run_at = now() WHERE jobs.state = 'done'")
    .bind::<Uuid, _>(tenant)
    .bind::<Integer, _>(model_id)
    .execute(conn)
    .await
}

/// Whether documents wait for vectors of the next model, or were given up.
pub async fn waits(conn: &mut Conn, tenant: TenantId) -> QueryResult<bool> {
    let open = jobs::table
        .filter(jobs::tenant_id.eq(tenant).and(jobs::kind.eq("embed")))
        .filter(jobs::state.ne("done"));
    diesel::select(exists(open)).get_result(conn).await
}

/// Takes the jobs of a move away.
pub async fn forget_jobs(conn: &mut Conn, tenant: TenantId) -> QueryResult<()> {
    let jobs = jobs::table.filter(jobs::tenant_id.eq(tenant).and(jobs::kind.eq("embed")));
    diesel::delete(jobs).execute(conn).await?;
    Ok(())
}

/// How far a move is.
pub async fn progress(conn: &mut Conn, tenant: TenantId) -> QueryResult<Progress> {
    sql(
        "SELECT count(*) FILTER (WHERE state = 'done') AS done, count(*) FILTER (WHERE state <> 'done') AS left,
                count(*) FILTER (WHERE state = 'failed') AS failed,
                (array_agg(last_error ORDER BY run_at DESC) FILTER (WHERE state <> 'done' AND last_error IS NOT NULL))[1]
                  AS last_error
         FROM jobs WHERE tenant_id = $1 AND kind = 'embed'",
    )
    .bind::<Uuid, _>(tenant)
    .get_result(conn)
    .await
}

/// Deletes some vectors of a model; says how many.
pub async fn delete_some(conn: &mut Conn, tenant: TenantId, model_id: i32) -> QueryResult<usize> {
    sql("DELETE FROM embeddings WHERE tenant_id = $1 AND model_id = $2 AND chunk_id IN (
           SELECT chunk_id FROM embeddings WHERE tenant_id = $1 AND model_id = $2 LIMIT 5000)")
    .bind::<Uuid, _>(tenant)
    .bind::<Integer, _>(model_id)
    .execute(conn)
    .await
}
