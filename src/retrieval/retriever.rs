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
use futures_util::join;
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
            let vector = HalfVec::new(vector);
            let near = self.near((tenant, &space), &vector, collections);
            let (near, worded) = join!(near, self.worded(tenant, question, collections));
            if let Some(near) = near? {
                let ranked = fuse(&[near, worded?]);
                found.passages = self.passages(tenant, &ranked, question, budget).await?;
                metrics::histogram!("docent_retrieval_seconds").record(started.elapsed());
                return Ok(found);
            }
            // The tenant was moved to another model meanwhile.
            let tx = self.db.tenant(tenant).await?;
            space = self.spaces.of(&tx, tenant).await?;
            tx.commit().await?;
        }
    }

    /// The chunks that are near, nearest first; `None` when the space is not the tenant's any more.
    async fn near(
        &self,
        (tenant, space): (TenantId, &Space),
        question: &HalfVec,
        collections: &[String],
    ) -> Result<Option<Vec<ChunkId>>, RetrieveError> {
        let key = (tenant, space.id);
        // Asked after the search: while it is the tenant's, no vector of it was deleted.
        let first = async |conn: &Conn| {
            join!(
                nearest(conn, key, question, collections),
                self.spaces.answers(conn, tenant, space)
            )
        };
        let (_tx, (near, answers)) = self.db.tenant_with(tenant, first).await?;
        let near = near?.into_iter().filter(|n| n.distance < FARTHEST).map(|n| n.chunk_id);
        Ok(answers?.then(|| near.collect()))
    }

    /// The chunks that have the question's words, best first. Beside the other search, on a connection of its own.
    async fn worded(
        &self,
        tenant: TenantId,
        question: &str,
        collections: &[String],
    ) -> Result<Vec<ChunkId>, RetrieveError> {
        let first =
            async |conn: &Conn| chunks::search(conn, question, CANDIDATES, collections).await;
        let (_tx, worded) = self.db.tenant_with(tenant, first).await?;
        Ok(worded?)
    }

    /// The best, as far as the budget goes.
    async fn passages(
        &self,
        tenant: TenantId,
        ranked: &[(ChunkId, f32)],
        question: &str,
        budget: i32,
    ) -> Result<Vec<Passage>, RetrieveError> {
        let ids: Vec<ChunkId> = ranked.iter().take(MOST * 2).map(|(id, _)| *id).collect();
        let first = async |conn: &Conn| chunks::load(conn, tenant, &ids).await;
        let (_tx, loaded) = self.db.tenant_with(tenant, first).await?;
        let mut loaded: HashMap<ChunkId, FoundChunk> =
            loaded?.into_iter().map(|chunk| (chunk.id, chunk)).collect();
        let mut passages = Vec::new();
        let mut left = budget;
        for (id, score) in ranked {
            let Some(chunk) = loaded.remove(id) else { continue };
            if passages.len() == MOST || chunk.tokens > left {
                break;
            }
            left -= chunk.tokens;
            passages.push(passage(chunk, question, *score));
        }
        Ok(passages)
    }
}

async fn nearest(
    conn: &Conn,
    key: (TenantId, i32),
    question: &HalfVec,
    collections: &[String],
) -> QueryResult<Vec<Neighbour>> {
    if collections.is_empty() {
        return embeddings::nearest(conn, key.0, key.1, question, CANDIDATES.into()).await;
    }
    let exact = store::collections::chunks(conn, key.0, collections).await? < OWN_INDEX_FROM;
    embeddings::nearest_among(conn, key, question, CANDIDATES.into(), collections, exact).await
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
