//! The search itself. The embedding call runs before the transaction begins: no connection is held
//! while a provider thinks.

use super::fusion::fuse;
use super::index::OWN_INDEX_FROM;
use super::passage::Passage;
use super::snippet::best_window;
use crate::embedding::{EmbedError, Embedder};
use crate::store::chunks::{self, FoundChunk};
use crate::store::embeddings::{self, Neighbour};
use crate::store::{self, Conn, Db, DbError, HalfVec};
use crate::types::{ChunkId, TenantId};
use std::collections::HashMap;
use std::sync::Arc;
use thiserror::Error;

/// How many candidates each search gives.
const CANDIDATES: i64 = 30;
/// Farther than this a chunk has nothing in common with the question (cosine distance).
const FARTHEST: f64 = 0.95;
/// The most passages in a prompt.
const MOST: usize = 6;

/// Why nothing could be searched.
#[derive(Debug, Error)]
pub enum RetrieveError {
    #[error("the question could not be embedded: {0}")]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<diesel::result::Error> for RetrieveError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// What was found, and what finding it used.
#[derive(Debug, Default)]
pub struct Found {
    pub passages: Vec<Passage>,
    pub embedding_tokens: u64,
    /// False when the tokens are our own count.
    pub exact: bool,
}

/// Searches one embedding model's vectors. Cheap to clone.
#[derive(Clone)]
pub struct Retriever {
    db: Db,
    embedder: Arc<dyn Embedder>,
    model_id: i32,
}

impl Retriever {
    /// `model_id` is the embedder's row in `embedding_models`.
    #[must_use]
    pub fn new(db: Db, embedder: Arc<dyn Embedder>, model_id: i32) -> Self {
        Self { db, embedder, model_id }
    }

    /// The name of the model that embeds questions.
    #[must_use]
    pub fn embedding_model(&self) -> &str {
        self.embedder.name()
    }

    /// The passages that fit `question` best, best first, together at most `budget` tokens; of the documents
    /// in `collections`, or of all when none is named.
    ///
    /// # Errors
    /// When the embedder or the database fails.
    pub async fn retrieve(
        &self,
        tenant: TenantId,
        question: &str,
        budget: i32,
        collections: &[String],
    ) -> Result<Found, RetrieveError> {
        let started = std::time::Instant::now();
        let embedded = self.embedder.embed(vec![question.to_owned()]).await?;
        let Some(vector) = embedded.vectors.first() else { return Ok(Found::default()) };
        let mut tx = self.db.tenant(tenant).await?;
        let near = self.near(&mut tx, tenant, &HalfVec::new(vector), collections).await?;
        let near: Vec<ChunkId> =
            near.iter().filter(|n| n.distance < FARTHEST).map(|n| n.chunk_id).collect();
        let worded = chunks::search(&mut tx, tenant, question, CANDIDATES, collections).await?;
        let ranked = fuse(&[near, worded]);
        let ids: Vec<ChunkId> = ranked.iter().take(MOST * 2).map(|(id, _)| *id).collect();
        let mut found: HashMap<ChunkId, FoundChunk> = chunks::load(&mut tx, tenant, &ids)
            .await?
            .into_iter()
            .map(|chunk| (chunk.id, chunk))
            .collect();
        let mut passages = Vec::new();
        let mut left = budget;
        for (id, score) in ranked {
            let Some(chunk) = found.remove(&id) else { continue };
            if passages.len() == MOST || chunk.tokens > left {
                break;
            }
            left -= chunk.tokens;
            passages.push(passage(chunk, question, score));
        }
        tx.commit().await?;
        metrics::histogram!("docent_retrieval_seconds").record(started.elapsed());
        Ok(Found { passages, embedding_tokens: embedded.tokens, exact: embedded.exact })
    }

    async fn near(
        &self,
        conn: &mut Conn,
        tenant: TenantId,
        question: &HalfVec,
        collections: &[String],
    ) -> Result<Vec<Neighbour>, RetrieveError> {
        let model = self.model_id;
        if collections.is_empty() {
            return Ok(embeddings::nearest(conn, tenant, model, question, CANDIDATES).await?);
        }
        let exact = store::collections::chunks(conn, tenant, collections).await? < OWN_INDEX_FROM;
        let key = (tenant, model);
        let near =
            embeddings::nearest_among(conn, key, question, CANDIDATES, collections, exact).await?;
        Ok(near)
    }
}

fn passage(chunk: FoundChunk, question: &str, score: f32) -> Passage {
    Passage {
        chunk: chunk.id,
        document: chunk.document_id,
        file_name: chunk.file_name,
        media_type: chunk.media_type,
        page: chunk.page,
        page_end: chunk.page_end,
        tokens: chunk.tokens,
        snippet: best_window(&chunk.content, question),
        text: chunk.content,
        score,
    }
}
