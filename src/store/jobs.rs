//! The durable queue: a job is owned by lease, never by a lock held over the work.

use super::Conn;
use super::schema::jobs;
use super::sql::sql;
use crate::types::{DocumentId, JobId, NodeId, TenantId};
use diesel::prelude::*;
use diesel::sql_types::{Double, Integer, Text, Uuid};
use diesel_async::RunQueryDsl;

/// A job in the hands of the node that claimed it.
#[derive(Clone, Debug, QueryableByName)]
pub struct ClaimedJob {
    #[diesel(sql_type = Uuid)]
    pub tenant_id: TenantId,
    #[diesel(sql_type = Uuid)]
    pub id: JobId,
    #[diesel(sql_type = Uuid)]
    pub document_id: DocumentId,
    /// ingest; or embed: vectors of the model that the tenant is being moved to.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Counted from 1.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Integer)]
    pub max_attempts: i32,
}

/// Queues the ingestion of a document; in the transaction that stores it.
pub async fn enqueue(
    conn: &mut Conn,
    tenant: TenantId,
    id: JobId,
    document: DocumentId,
) -> QueryResult<()> {
    diesel::insert_into(jobs::table)
        .values((
            jobs::tenant_id.eq(tenant),
            jobs::id.eq(id),
            jobs::kind.eq("ingest"),
            jobs::document_id.eq(document),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Queues vectors of the next model for a document; in the transaction that gives it its first ones.
pub async fn enqueue_embed(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
) -> QueryResult<()> {
    sql(
        "INSERT INTO jobs (tenant_id, id, kind, document_id, max_attempts)
         VALUES ($1, gen_random_uuid(), 'embed', $2, 20)
         ON CONFLICT (tenant_id, document_id) WHERE kind = 'embed'
         DO UPDATE SET state = 'queued', attempts = 0, run_at = now() WHERE jobs.state IN ('done', 'failed')",
    )
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(document)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the job that is due longest, ingestions before others, also one whose owner let its lease run out. Needs a system
/// transaction, committed before the work begins.
pub async fn claim(
    conn: &mut Conn,
    owner: NodeId,
    lease_seconds: f64,
) -> QueryResult<Option<ClaimedJob>> {
    sql(
        "UPDATE jobs SET state = 'running', attempts = attempts + 1, owner = $1,
                         lease_until = now() + make_interval(secs => $2)
         WHERE (tenant_id, id) IN (
           SELECT tenant_id, id FROM jobs
           WHERE (state = 'queued' AND run_at <= now()) OR (state = 'running' AND lease_until < now())
           ORDER BY kind DESC, run_at LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING tenant_id, id, document_id, kind, attempts, max_attempts",
    )
    .bind::<Uuid, _>(owner)
    .bind::<Double, _>(lease_seconds)
    .get_result(conn)
    .await
    .optional()
}

/// Locks the job and says whether `owner` still holds it: a lease that ran out may have been taken.
pub async fn lock_owned(conn: &mut Conn, job: &ClaimedJob, owner: NodeId) -> QueryResult<bool> {
    let held: Option<JobId> = jobs::table
        .find((job.tenant_id, job.id))
        .filter(
            jobs::owner
                .eq(owner.uuid())
                .and(jobs::state.eq("running"))
                .and(jobs::attempts.eq(job.attempts)),
        )
        .select(jobs::id)
        .for_update()
        .first(conn)
        .await
        .optional()?;
    Ok(held.is_some())
}

/// Locks a document's jobs. Whoever locks a document as well does this first: an ingestion does, and
/// in another order the two would wait for each other.
pub async fn lock_of_document(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
) -> QueryResult<()> {
    let ids: Vec<JobId> = jobs::table
        .filter(jobs::tenant_id.eq(tenant).and(jobs::document_id.eq(document)))
        .select(jobs::id)
        .order(jobs::id)
        .for_update()
        .load(conn)
        .await?;
    drop(ids); // the locks are what was wanted
    Ok(())
}

/// Extends the lease; false when the job is no longer `owner`'s.
pub async fn heartbeat(
    conn: &mut Conn,
    job: &ClaimedJob,
    owner: NodeId,
    lease_seconds: f64,
) -> QueryResult<bool> {
    let rows = sql("UPDATE jobs SET lease_until = now() + make_interval(secs => $4)
         WHERE tenant_id = $1 AND id = $2 AND owner = $3 AND state = 'running' AND attempts = $5")
    .bind::<Uuid, _>(job.tenant_id)
    .bind::<Uuid, _>(job.id)
    .bind::<Uuid, _>(owner)
    .bind::<Double, _>(lease_seconds)
    .bind::<Integer, _>(job.attempts)
    .execute(conn)
    .await?;
    Ok(rows == 1)
}

/// The job is over: `state` is done or failed.
pub async fn finish(conn: &mut Conn, job: &ClaimedJob, state: &str) -> QueryResult<()> {
    diesel::update(jobs::table.find((job.tenant_id, job.id)))
        .set((jobs::state.eq(state), jobs::lease_until.eq(None::<chrono::DateTime<chrono::Utc>>)))
        .execute(conn)
        .await?;
    Ok(())
}

/// The job is given up.
pub async fn fail(conn: &mut Conn, job: &ClaimedJob, error: &str) -> QueryResult<()> {
    diesel::update(jobs::table.find((job.tenant_id, job.id)))
        .set((
            jobs::state.eq("failed"),
            jobs::last_error.eq(error),
            jobs::lease_until.eq(None::<chrono::DateTime<chrono::Utc>>),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Back to the queue, due in `delay_seconds`.
pub async fn retry(
    conn: &mut Conn,
    job: &ClaimedJob,
    error: &str,
    delay_seconds: f64,
) -> QueryResult<()> {
    sql("UPDATE jobs SET state = 'queued', owner = NULL, lease_until = NULL, last_error = $3,
                         run_at = now() + make_interval(secs => $4)
         WHERE tenant_id = $1 AND id = $2")
    .bind::<Uuid, _>(job.tenant_id)
    .bind::<Uuid, _>(job.id)
    .bind::<Text, _>(error)
    .bind::<Double, _>(delay_seconds)
    .execute(conn)
    .await?;
    Ok(())
}

/// A part of the job is done, and others come first before the next one: back to the queue, uncounted.
pub async fn yield_turn(conn: &mut Conn, job: &ClaimedJob) -> QueryResult<()> {
    sql("UPDATE jobs SET state = 'queued', owner = NULL, lease_until = NULL, run_at = now(),
                         attempts = attempts - 1
         WHERE tenant_id = $1 AND id = $2")
    .bind::<Uuid, _>(job.tenant_id)
    .bind::<Uuid, _>(job.id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives back what `owner` holds, uncounted: it shuts down. Needs a system transaction.
pub async fn release_all(conn: &mut Conn, owner: NodeId) -> QueryResult<usize> {
    sql(
        "UPDATE jobs SET state = 'queued', owner = NULL, lease_until = NULL, attempts = attempts - 1
         WHERE owner = $1 AND state = 'running'",
    )
    .bind::<Uuid, _>(owner)
    .execute(conn)
    .await
}

/// Ends every lease at once: the caller knows that no other node lives (`docent dev`). Needs a
/// system transaction.
pub async fn expire_all_leases(conn: &mut Conn) -> QueryResult<usize> {
    sql("UPDATE jobs SET lease_until = '-infinity' WHERE state = 'running'").execute(conn).await
}
