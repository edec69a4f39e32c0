//! The search itself. The embedding call runs before the transaction begins: no connection is held
//! while a provider thinks.

use super::fusion::fuse;
use super::index::OWN_INDEX_FROM;
use super::passage::Passage;
use super::snippet::best_window;
use crate::embedding::{EmbedError, Questions, Space, Spaces};
use crate::store::chunks::{self, FoundChunk};
use crate::store::embeddings::{self, Neighbour};
use crate::store::{self, Conn, Db, DbError, HalfVec};
use crate::types::{ChunkId, TenantId};
use diesel::QueryResult;
use std::collections::HashMap;
use thiserror::Error;

/// How many candidates each search gives.
const CANDIDATES: i32 = 30;
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

/// Searches the vectors of the embedding model that a tenant has. Cheap to clone.
#[derive(Clone)]
pub struct Retriever {
    db: Db,
    spaces: Spaces,
    questions: Questions,
}

impl Retriever {
    /// Knows no question yet.
    #[must_use]
    pub fn new(db: Db, spaces: Spaces) -> Self {
        Self { db, spaces, questions: Questions::default() }
    }

    /// The model that embeds a tenant's questions at the moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn space(&self, conn: &Conn, tenant: TenantId) -> QueryResult<Space> {
        self.spaces.of(conn, tenant).await
    }

    /// The passages that fit `question` best, best first, together at most `budget` tokens; of the documents
    /// in `collections`, or of all when none is named. `space` is the tenant's as far as the caller knows.
    ///
    /// # Errors
    /// When the embedder or the database fails.
    pub async fn retrieve(
        &self,
        tenant: TenantId,
        mut space: Space,
        question: &str,
        budget: i32,
        collections: &[String],
    ) -> Result<Found, RetrieveError> {
        let started = std::time::Instant::now();
        let mut found = Found { exact: true, ..Found::default() };
        loop {
            let embedded = self.questions.embed(tenant, &space, question).await?;
            found.embedding_tokens += embedded.tokens;
            found.exact &= embedded.exact;
            let Some(vector) = embedded.vectors.first() else { return Ok(found) };
            let mut tx = self.db.tenant(tenant).await?;
            let key = (tenant, space.id);
            let near = self.near(&mut tx, key, &HalfVec::new(vector), collections).await?;
            // Asked after the search: while this holds, no vector of the model was deleted.
            if self.spaces.answers(&mut tx, tenant, &space).await? {
                found.passages =
                    passages(&mut tx, tenant, near, question, budget, collections).await?;
                tx.commit().await?;
                metrics::histogram!("docent_retrieval_seconds").record(started.elapsed());
                return Ok(found);
            }
            // The tenant was moved to another model meanwhile.
            space = self.spaces.of(&mut tx, tenant).await?;
        }
    }

    async fn near(
        &self,
        conn: &mut Conn,
        (tenant, model): (TenantId, i32),
        question: &HalfVec,
        collections: &[String],
    ) -> QueryResult<Vec<Neighbour>> {
        if collections.is_empty() {
            return embeddings::nearest(conn, tenant, model, question, CANDIDATES.into()).await;
        }
        let exact = store::collections::chunks(conn, tenant, collections).await? < OWN_INDEX_FROM;
        let key = (tenant, model);
        embeddings::nearest_among(conn, key, question, CANDIDATES.into(), collections, exact).await
    }
}

/// The best of what is near and of what has the words, as far as the budget goes.
async fn passages(
    conn: &mut Conn,
    tenant: TenantId,
    near: Vec<Neighbour>,
    question: &str,
    budget: i32,
    collections: &[String],
) -> QueryResult<Vec<Passage>> {
    let near: Vec<ChunkId> =
        near.iter().filter(|n| n.distance < FARTHEST).map(|n| n.chunk_id).collect();
    let worded = chunks::search(conn, question, CANDIDATES, collections).await?;
    let ranked = fuse(&[near, worded]);
    let ids: Vec<ChunkId> = ranked.iter().take(MOST * 2).map(|(id, _)| *id).collect();
    let mut found: HashMap<ChunkId, FoundChunk> = chunks::load(conn, tenant, &ids)
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
    Ok(passages)
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
