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
use dashmap::DashSet;
use diesel::QueryResult;
use futures_util::join;
use std::collections::HashMap;
use std::sync::Arc;
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
    /// Tenants that have a partition of their own, as far as it was noticed.
    apart: Arc<DashSet<TenantId>>,
}

impl Retriever {
    /// Knows no question yet.
    #[must_use]
    pub fn new(db: Db, spaces: Spaces) -> Self {
        Self { db, spaces, questions: Questions::default(), apart: Arc::default() }
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
            let asked = Asked { tenant, space: &space, vector: &vector, collections };
            let first = async |conn: &Conn| {
                join!(
                    self.near(conn, &asked),
                    chunks::search(conn, question, CANDIDATES, collections)
                )
            };
            // On one connection: the turn is opened on another one meanwhile.
            let (tx, (near, worded)) = self.db.tenant_with(tenant, first).await?;
            if let Some(near) = near? {
                let ranked = fuse(&[near, worded?]);
                found.passages = passages(&tx, tenant, &ranked, question, budget).await?;
                metrics::histogram!("docent_retrieval_seconds").record(started.elapsed());
                return Ok(found);
            }
            // The tenant was moved to another model meanwhile.
            space = self.spaces.of(&tx, tenant).await?;
        }
    }

    /// The chunks that are near, nearest first; `None` when the space is not the tenant's any more, which is asked
    /// after the search: while it is the tenant's, no vector of it was deleted.
    async fn near(&self, conn: &Conn, asked: &Asked<'_>) -> QueryResult<Option<Vec<ChunkId>>> {
        let still = self.spaces.answers(conn, asked.tenant, asked.space);
        let (near, still) = if asked.collections.is_empty() {
            join!(self.nearest(conn, asked), still)
        } else {
            (nearest_among(conn, asked).await, still.await)
        };
        let near = near?.into_iter().filter(|n| n.distance < FARTHEST).map(|n| n.chunk_id);
        Ok(still?.then(|| near.collect()))
    }

    async fn nearest(&self, conn: &Conn, asked: &Asked<'_>) -> QueryResult<Vec<Neighbour>> {
        let (tenant, space) = (asked.tenant, asked.space);
        let apart = self.apart.contains(&tenant);
        let key = (tenant, space.id);
        let near = embeddings::nearest(conn, key, asked.vector, CANDIDATES.into(), apart).await?;
        if !apart && near.first().is_some_and(|near| near.apart) {
            self.apart.insert(tenant);
        }
        Ok(near)
    }
}

/// What is searched for.
struct Asked<'a> {
    tenant: TenantId,
    space: &'a Space,
    vector: &'a HalfVec,
    collections: &'a [String],
}

async fn nearest_among(conn: &Conn, asked: &Asked<'_>) -> QueryResult<Vec<Neighbour>> {
    let Asked { tenant, space, vector, collections } = *asked;
    let exact = store::collections::chunks(conn, tenant, collections).await? < OWN_INDEX_FROM;
    let key = (tenant, space.id);
    embeddings::nearest_among(conn, key, vector, CANDIDATES.into(), collections, exact).await
}

/// The best, as far as the budget goes.
async fn passages(
    conn: &Conn,
    tenant: TenantId,
    ranked: &[(ChunkId, f32)],
    question: &str,
    budget: i32,
) -> QueryResult<Vec<Passage>> {
    let ids: Vec<ChunkId> = ranked.iter().take(MOST * 2).map(|(id, _)| *id).collect();
    let loaded = chunks::load(conn, tenant, &ids).await?;
    let mut loaded: HashMap<ChunkId, FoundChunk> =
        loaded.into_iter().map(|chunk| (chunk.id, chunk)).collect();
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
