//! The ingestion of one document: extract, chunk, embed, index.
//!
//! The stages before the last only read and compute. The last writes everything in one transaction,
//! after it has locked the job and seen that it is still ours: a second worker with the same job
//! finds it done.

use super::chunker::{Chunk, ChunkOptions, chunk};
use super::extract::{ExtractError, Extracted, Extractor, Format};
use super::progress::Progress;
use crate::embedding::{EmbedError, Space, Spaces};
use crate::jobs::Queue;
use crate::metering::{self, Bill, Item, Prices, Source, StepBill};
use crate::retrieval::{OWN_INDEX_FROM, give_own_index};
use crate::store::chunks::NewChunk;
use crate::store::documents::Document;
use crate::store::embeddings::NewEmbedding;
use crate::store::jobs::ClaimedJob;
use crate::store::pages::NewPage;
use crate::store::prices::Price;
use crate::store::tenant_embeddings::Place;
use crate::store::{Conn, Db, DbError, HalfVec, blobs, chunks, embeddings, jobs, pages};
use crate::types::{ChunkId, Meter, Provenance, TenantId};
use std::sync::Arc;
use thiserror::Error;

/// Chunks embedded per call: small enough to show progress.
const BATCH: usize = 64;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ready,
    Failed,
    Retrying,
    /// The job or the document is not ours (any more).
    Abandoned,
}

#[derive(Debug, Error)]
enum IngestError {
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error("This would exceed the quota of {} {}.", .0.limit, .0.meter.replace('_', " "))]
    Quota(metering::QuotaExceeded),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error("the document or its job is gone")]
    Gone,
}

impl From<diesel::result::Error> for IngestError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// What one attempt computed, to be written at once.
struct Work {
    extracted: Extracted,
    chunks: Vec<Chunk>,
    space: Space,
    vectors: Vec<HalfVec>,
    embedding_tokens: u64,
    exact: bool,
}

/// Ingests documents. Cheap to clone.
#[derive(Clone)]
pub struct Ingestor {
    pub db: Db,
    pub queue: Queue,
    pub extractor: Arc<Extractor>,
    pub spaces: Spaces,
    pub progress: Progress,
}

impl Ingestor {
    /// Runs a claimed job to an outcome, which is durable when this returns.
    pub async fn run(&self, job: &ClaimedJob) -> Outcome {
        let attempt = async {
            if job.attempts > job.max_attempts {
                return self
                    .fail(
                        job,
                        "gave_up",
                        "Reading this file was interrupted too often. Upload it again.",
                    )
                    .await;
            }
            match self.attempt(job).await {
                Ok(()) => Ok(Outcome::Ready),
                Err(error) => self.settle_failure(job, error).await,
            }
        };
        let outcome = match self.queue.keep(job, attempt).await {
            Some(Ok(outcome)) => outcome,
            // The lease runs out and the job is claimed again.
            Some(Err(error)) => {
                tracing::error!(job.id = %job.id, %error, "An ingestion could not be recorded");
                Outcome::Abandoned
            }
            None => Outcome::Abandoned,
        };
        self.progress.nudge(job.document_id);
        outcome
    }

    async fn attempt(&self, job: &ClaimedJob) -> Result<(), IngestError> {
        let (document, bytes) = self.load(job).await?;
        self.report(job, "extracting", 0.05).await?;
        let format = Format::sniff(&bytes, &document.name)?;
        let extracted = self.extractor.extract(bytes.into(), format).await?;
        self.report(job, "chunking", 0.3).await?;
        let (extracted, chunks) = tokio::task::spawn_blocking(move || {
            let chunks = chunk(&extracted.pages, &ChunkOptions::default());
            (extracted, chunks)
        })
        .await
        .map_err(|_panicked| ExtractError::Crashed)?;
        let space = self.settle(job.tenant_id).await?;
        let mut work = self.embed(job, extracted, chunks, space).await?;
        while !self.write(job, &document, &work).await? {
            // The tenant was moved to another embedding model meanwhile.
            let space = self.settle(job.tenant_id).await?;
            work = self.embed(job, work.extracted, work.chunks, space).await?;
        }
        let (tenant, space) = (job.tenant_id, &work.space);
        let indexed =
            give_own_index(&self.db, tenant, space.id, space.dimensions(), OWN_INDEX_FROM).await;
        if let Err(error) = indexed {
            // Searches stay right without it, only slower; the next ingestion tries again.
            tracing::error!(tenant.id = %tenant, %error, "A tenant's own index could not be made");
        }
        Ok(())
    }

    async fn settle(&self, tenant: TenantId) -> Result<Space, IngestError> {
        let mut tx = self.db.tenant(tenant).await?;
        let space = self.spaces.settle(&mut tx, tenant).await?;
        tx.commit().await?;
        Ok(space)
    }

    async fn load(&self, job: &ClaimedJob) -> Result<(Document, Vec<u8>), IngestError> {
        let mut tx = self.db.tenant(job.tenant_id).await?;
        let document = Document::find(&mut tx, job.tenant_id, job.document_id).await?;
        let bytes = blobs::read(&mut tx, job.tenant_id, job.document_id).await?;
        tx.commit().await?;
        Ok((document.ok_or(IngestError::Gone)?, bytes))
    }

    async fn report(&self, job: &ClaimedJob, stage: &str, at: f32) -> Result<(), IngestError> {
        let mut tx = self.db.tenant(job.tenant_id).await?;
        Document::set_progress(&mut tx, job.tenant_id, job.document_id, stage, at).await?;
        tx.commit().await?;
        self.progress.nudge(job.document_id);
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of a few thousand chunks")]
    async fn embed(
        &self,
        job: &ClaimedJob,
        extracted: Extracted,
        chunks: Vec<Chunk>,
        space: Space,
    ) -> Result<Work, IngestError> {
        let (mut vectors, mut tokens, mut exact) = (Vec::with_capacity(chunks.len()), 0, true);
        for batch in chunks.chunks(BATCH) {
            let share = vectors.len() as f32 / chunks.len() as f32;
            self.report(job, "embedding", 0.35 + 0.6 * share).await?;
            let texts = batch.iter().map(|chunk| chunk.text.clone()).collect();
            let embedded = space.embed(texts).await?;
            vectors.extend(embedded.vectors.iter().map(|vector| HalfVec::new(vector)));
            tokens += embedded.tokens;
            exact &= embedded.exact;
        }
        self.report(job, "indexing", 0.95).await?;
        Ok(Work { extracted, chunks, space, vectors, embedding_tokens: tokens, exact })
    }

    /// False when the vectors are not of the model that the tenant has now; nothing was written then.
    async fn write(
        &self,
        job: &ClaimedJob,
        document: &Document,
        work: &Work,
    ) -> Result<bool, IngestError> {
        let (tenant, id) = (job.tenant_id, job.document_id);
        let mut tx = self.db.tenant(tenant).await?;
        let place = Place::share(&mut tx, tenant).await?;
        let Some(place) = place.filter(|place| place.model_id == work.space.id) else {
            return Ok(false);
        };
        if !jobs::lock_owned(&mut tx, job, self.queue.node()).await? {
            return Err(IngestError::Gone);
        }
        let rows: Vec<NewPage<'_>> = work
            .extracted
            .pages
            .iter()
            .map(|page| NewPage {
                tenant_id: tenant,
                document_id: id,
                page: int(page.number),
                content: &page.text,
            })
            .collect();
        pages::replace(&mut tx, tenant, id, &rows).await?;
        self.write_chunks(&mut tx, job, work).await?;
        chunks::count_words(&mut tx).await?;
        let (pages, chunks) = (count(work.extracted.pages.len()), count(work.chunks.len()));
        Document::set_ready(&mut tx, tenant, id, pages, chunks).await?;
        if place.next_model_id.is_some() {
            jobs::enqueue_embed(&mut tx, tenant, id).await?;
        }
        jobs::finish(&mut tx, job, "done").await?;
        let bill = bill(&mut tx, document, work).await?;
        metering::bill_now(&mut tx, &bill).await?.map_err(IngestError::Quota)?;
        tx.commit().await?;
        Ok(true)
    }

    async fn write_chunks(
        &self,
        tx: &mut Conn,
        job: &ClaimedJob,
        work: &Work,
    ) -> Result<(), IngestError> {
        let (tenant_id, document_id) = (job.tenant_id, job.document_id);
        chunks::delete(tx, tenant_id, document_id).await?;
        let ids: Vec<ChunkId> = work.chunks.iter().map(|_| ChunkId::new()).collect();
        let rows: Vec<NewChunk<'_>> = ids
            .iter()
            .zip(&work.chunks)
            .map(|(id, chunk)| NewChunk {
                tenant_id,
                id: *id,
                document_id,
                seq: int(chunk.seq),
                page: int(chunk.page),
                page_end: int(chunk.page_end),
                tokens: int(chunk.tokens),
                content: &chunk.text,
            })
            .collect();
        chunks::insert(tx, &rows).await?;
        let rows: Vec<NewEmbedding> = ids
            .into_iter()
            .zip(&work.vectors)
            .map(|(chunk_id, vector)| NewEmbedding {
                tenant_id,
                model_id: work.space.id,
                chunk_id,
                document_id,
                embedding: vector.clone(),
            })
            .collect();
        embeddings::insert(tx, &rows).await?;
        Ok(())
    }

    async fn settle_failure(
        &self,
        job: &ClaimedJob,
        error: IngestError,
    ) -> Result<Outcome, DbError> {
        match error {
            IngestError::Gone => Ok(Outcome::Abandoned),
            IngestError::Extract(error) => self.fail(job, error.code(), &error.to_string()).await,
            IngestError::Quota(_) => self.fail(job, "quota_exceeded", &error.to_string()).await,
            IngestError::Db(_) | IngestError::Embed(_) if job.attempts < job.max_attempts => {
                tracing::warn!(job.id = %job.id, job.attempt = job.attempts, %error,
                    "An ingestion failed; trying again later");
                let asked = match &error {
                    IngestError::Embed(error) => error.retry_after(),
                    _ => None,
                };
                self.queue.put_back(job, &error.to_string(), asked).await?;
                Ok(Outcome::Retrying)
            }
            IngestError::Embed(error) => {
                tracing::error!(job.id = %job.id, %error, "Embedding failed for good");
                let why = "The embedding service could not be used. Upload the file again later.";
                self.fail(job, "embedding_failed", why).await
            }
            IngestError::Db(error) => {
                tracing::error!(job.id = %job.id, %error, "Storing failed for good");
                let why = "The text of this file could not be stored.";
                self.fail(job, "internal", why).await
            }
        }
    }

    async fn fail(&self, job: &ClaimedJob, code: &str, message: &str) -> Result<Outcome, DbError> {
        let mut tx = self.db.tenant(job.tenant_id).await?;
        if !jobs::lock_owned(&mut tx, job, self.queue.node()).await? {
            return Ok(Outcome::Abandoned);
        }
        Document::set_failed(&mut tx, job.tenant_id, job.document_id, code, message).await?;
        jobs::finish(&mut tx, job, "failed").await?;
        tx.commit().await?;
        Ok(Outcome::Failed)
    }
}

async fn bill(tx: &mut Conn, document: &Document, work: &Work) -> Result<Bill, IngestError> {
    let provenance = if work.exact { Provenance::Exact } else { Provenance::Estimated };
    let quantity = i64::try_from(work.embedding_tokens).unwrap_or(i64::MAX);
    let embedding = Price::of(tx, document.tenant_id, work.space.billed_as()).await?;
    let items = vec![
        Item::exact(Meter::Pages, i64::from(count(work.extracted.pages.len()))),
        Item::exact(Meter::StoredBytes, document.bytes),
        Item { meter: Meter::EmbeddingTokens, quantity, provenance },
    ];
    Ok(Bill {
        tenant: document.tenant_id,
        user: document.user_id,
        assistant: None,
        source: Source::Document(document.id),
        embedding_model: Some(work.space.billed_as().to_owned()),
        prices: Prices { embedding, ..Prices::default() },
        first_step: 0,
        steps: vec![StepBill { model: None, items }],
    })
}

fn int(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
