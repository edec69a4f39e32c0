//! Gives the documents of a tenant that moves their new vectors, beside the old ones, and switches the tenant when
//! the last document has them. All of it may be killed at any point and done again.

use crate::embedding::{EmbedError, Space, Spaces};
use crate::jobs::Queue;
use crate::retrieval::{IndexError, OWN_INDEX_FROM, give_own_index};
use crate::store::embeddings::{self, NewEmbedding, Partition};
use crate::store::jobs::{self, ClaimedJob};
use crate::store::tenant_embeddings::{self as places, Place};
use crate::store::{Db, DbError, HalfVec};
use crate::types::TenantId;
use thiserror::Error;

/// Chunks embedded and written at a time: no more is lost with a node.
const BATCH: u8 = 64;

#[derive(Debug, Error)]
enum Failed {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the job is not ours any more")]
    Gone,
}

impl From<diesel::result::Error> for Failed {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// Moves tenants. Cheap to clone.
#[derive(Clone)]
pub struct Mover {
    db: Db,
    queue: Queue,
    spaces: Spaces,
}

impl Mover {
    /// One that takes its jobs from `queue`.
    #[must_use]
    pub fn new(db: Db, queue: Queue, spaces: Spaces) -> Self {
        Self { db, queue, spaces }
    }

    /// Gives some chunks of a document their new vectors; its job is queued again while there are more.
    pub async fn run(&self, job: &ClaimedJob) {
        let attempt = async {
            match self.embed(job).await {
                Ok(done) => Ok(if done { "done" } else { "continued" }),
                Err(error) => self.settle_failure(job, error).await,
            }
        };
        let outcome = match self.queue.keep(job, attempt).await {
            Some(Ok(outcome)) => outcome,
            // The lease runs out and the job is claimed again.
            Some(Err(error)) => {
                tracing::error!(job.id = %job.id, %error, "New vectors could not be recorded");
                "abandoned"
            }
            None => "abandoned",
        };
        metrics::counter!("docent_reembeddings_total", "outcome" => outcome).increment(1);
    }

    /// The vectors of one batch; true when it was the last one.
    async fn embed(&self, job: &ClaimedJob) -> Result<bool, Failed> {
        let (tenant, key) = (job.tenant_id, (job.tenant_id, job.document_id));
        let mut tx = self.db.tenant(tenant).await?;
        let place = Place::find(&tx, tenant).await?;
        let space = match place.and_then(|place| place.next_model_id) {
            Some(next) => self.spaces.get(&tx, next).await?,
            None => return Err(Failed::Gone), // the move was taken back, and its jobs with it
        };
        let bare = embeddings::bare(&mut tx, key, space.id, i64::from(BATCH)).await?;
        tx.commit().await?;
        let last = bare.len() < usize::from(BATCH);
        let texts: Vec<String> = bare.iter().map(|chunk| chunk.content.clone()).collect();
        let vectors = match texts.is_empty() {
            true => Vec::new(),
            false => space.embed(texts).await?.vectors,
        };
        let rows = bare.iter().zip(&vectors).map(|(chunk, vector)| NewEmbedding {
            tenant_id: tenant,
            model_id: space.id,
            chunk_id: chunk.id,
            document_id: job.document_id,
            embedding: HalfVec::new(vector),
        });
        self.write(job, &space, rows.collect(), last).await?;
        Ok(last)
    }

    /// Writes them. Before the next ones others go first: documents that are uploaded meanwhile do not wait
    /// for a move.
    async fn write(
        &self,
        job: &ClaimedJob,
        space: &Space,
        rows: Vec<NewEmbedding>,
        last: bool,
    ) -> Result<(), Failed> {
        let mut tx = self.db.tenant(job.tenant_id).await?;
        let place = Place::share(&mut tx, job.tenant_id).await?;
        let wanted = place.is_some_and(|place| place.next_model_id == Some(space.id));
        if !wanted || !jobs::lock_owned(&mut tx, job, self.queue.node()).await? {
            return Err(Failed::Gone);
        }
        embeddings::insert(&mut tx, &rows).await?;
        match last {
            true => jobs::finish(&mut tx, job, "done").await?,
            false => jobs::yield_turn(&mut tx, job).await?,
        }
        Ok(tx.commit().await?)
    }

    async fn settle_failure(
        &self,
        job: &ClaimedJob,
        error: Failed,
    ) -> Result<&'static str, DbError> {
        let (again, asked) = match &error {
            Failed::Gone => return Ok("abandoned"),
            Failed::Db(_) => (true, None),
            Failed::Embed(error) => (error.retryable(), error.retry_after()),
        };
        if again && job.attempts < job.max_attempts {
            tracing::warn!(job.id = %job.id, job.attempt = job.attempts, %error,
                "A document could not be embedded anew; trying again later");
            self.queue.put_back(job, &error.to_string(), asked).await?;
            return Ok("retried");
        }
        tracing::error!(job.id = %job.id, %error, "A document could not be embedded anew");
        let mut tx = self.db.tenant(job.tenant_id).await?;
        if jobs::lock_owned(&mut tx, job, self.queue.node()).await? {
            jobs::fail(&mut tx, job, &error.to_string()).await?;
            tx.commit().await?;
        }
        Ok("failed")
    }

    /// Takes every move as far as it can go now.
    ///
    /// # Errors
    /// When the database fails; what was done until then stays.
    pub async fn round(&self) -> Result<(), DbError> {
        let mut tx = self.db.system().await?;
        let tenants = places::unfinished(&mut tx).await?;
        tx.commit().await?;
        for tenant in tenants {
            self.switch(tenant).await?;
            self.tidy(tenant).await?;
        }
        Ok(())
    }

    /// Lets the next model answer when every document has its vectors.
    async fn switch(&self, tenant: TenantId) -> Result<(), DbError> {
        let mut tx = self.db.tenant(tenant).await?;
        let place = Place::find(&tx, tenant).await?;
        let Some(next) = place.and_then(|place| place.next_model_id) else { return Ok(()) };
        if places::waits(&mut tx, tenant).await? {
            return Ok(());
        }
        let space = self.spaces.get(&tx, next).await?;
        tx.commit().await?;
        // Before anybody asks: the first question is as fast as the last one was.
        let indexed =
            give_own_index(&self.db, tenant, next, space.dimensions(), OWN_INDEX_FROM).await;
        indexed.map_err(|IndexError(error)| error)?;
        let mut tx = self.db.tenant(tenant).await?;
        let place = Place::lock(&mut tx, tenant).await?;
        let Some(place) = place.filter(|place| place.next_model_id == Some(next)) else {
            return Ok(()); // taken back, or another node was first
        };
        let bare = places::queue(&mut tx, tenant, next, false).await?;
        if bare == 0 && !places::waits(&mut tx, tenant).await? {
            let old_model_id = Some(place.model_id);
            let there = Place { model_id: next, next_model_id: None, old_model_id };
            there.put(&mut tx, tenant).await?;
            places::forget_jobs(&mut tx, tenant).await?;
            tracing::info!(tenant.id = %tenant, model = space.name(), "A tenant was moved");
        }
        tx.commit().await
    }

    /// Deletes vectors that nobody needs, some at a time.
    async fn tidy(&self, tenant: TenantId) -> Result<(), DbError> {
        let partition = Partition::of(tenant);
        loop {
            let mut tx = self.db.tenant(tenant).await?;
            let Some(place) = Place::lock(&mut tx, tenant).await? else { return Ok(()) };
            let Some(old) = place.old_model_id else { return Ok(()) };
            if partition.is_indexed(&mut tx, old).await? {
                drop(tx);
                let mut tx = self.db.owner().await?;
                partition.drop_index(&mut tx, old).await?;
                tx.commit().await?;
                continue;
            }
            if places::delete_some(&mut tx, tenant, old).await? == 0 {
                Place { old_model_id: None, ..place }.put(&mut tx, tenant).await?;
                return tx.commit().await;
            }
            tx.commit().await?;
        }
    }
}
