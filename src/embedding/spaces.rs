//! All embedding models of this server, by their rows; and which of them a tenant has.
//!
//! What the database says of a model is believed for a few seconds: a provider that moved is noticed soon.

use super::{EmbedError, Embedded, Embedder, Hashed, Limits, OpenAiEmbedder, OpenAiModel};
use super::{Places, Space};
use crate::config::ModelSettings;
use crate::store::embedding_models::{EmbeddingModel, NewEmbeddingModel};
use crate::store::providers::Provider;
use crate::store::tenant_embeddings::Place;
use crate::store::{Conn, Db, DbError};
use crate::types::TenantId;
use dashmap::DashMap;
use diesel::QueryResult;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use std::sync::Arc;
use std::time::{Duration, Instant};

const OPENAI: &str = "https://api.openai.com/v1";
/// The embedder that needs no provider.
const BUILT_IN: &str = "hashed-ngram-384";
/// How long a row is believed.
const FRESH: Duration = Duration::from_secs(10);
/// Of a model that nobody described.
const USUAL_DIMENSIONS: i32 = 1536;

/// The embedding models. Cheap to clone.
#[derive(Clone)]
pub struct Spaces {
    client: reqwest::Client,
    settings: Arc<ModelSettings>,
    default: i32,
    places: Places,
    known: Arc<DashMap<i32, (Instant, Space)>>,
}

impl Spaces {
    /// Those of this database; the one that the settings name is for tenants without documents, and made when
    /// it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open(
        db: &Db,
        client: reqwest::Client,
        settings: ModelSettings,
    ) -> Result<Self, DbError> {
        let mut tx = db.system().await?;
        let default = usual(&mut tx, &settings).await?;
        tx.commit().await?;
        let (settings, places) = (Arc::new(settings), Places::default());
        Ok(Self { client, settings, default, places, known: Arc::default() })
    }

    /// The one that answers a tenant's questions.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, conn: &Conn, tenant: TenantId) -> QueryResult<Space> {
        let place = Place::find(conn, tenant).await?;
        self.get(conn, place.map_or(self.default, |place| place.model_id)).await
    }

    /// The same, and the tenant stays there: it gets its first document.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settle(&self, conn: &mut Conn, tenant: TenantId) -> QueryResult<Space> {
        let place = Place::settle(conn, tenant, self.default).await?;
        self.get(conn, place.model_id).await
    }

    /// Whether a tenant's questions are answered by `space`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn answers(&self, conn: &Conn, tenant: TenantId, space: &Space) -> QueryResult<bool> {
        let place = Place::find(conn, tenant).await?;
        Ok(place.map_or(self.default, |place| place.model_id) == space.id)
    }

    /// The one with this number.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn get(&self, conn: &Conn, id: i32) -> QueryResult<Space> {
        if let Some(known) = self.known.get(&id)
            && known.0.elapsed() < FRESH
        {
            return Ok(known.1.clone());
        }
        let found = EmbeddingModel::find(conn, id).await?;
        let (model, provider) = found.ok_or(diesel::result::Error::NotFound)?;
        let space = Space::new(id, self.embedder(model, &provider));
        self.known.insert(id, (Instant::now(), space.clone()));
        Ok(space)
    }

    fn embedder(&self, row: EmbeddingModel, provider: &Provider) -> Arc<dyn Embedder> {
        let Provider { kind, base_url, key_variable, .. } = provider;
        let dimensions = usize::try_from(row.dimensions).unwrap_or(0);
        if kind == "demo" && row.name == BUILT_IN {
            return Arc::new(Hashed);
        }
        let api_key = match self.settings.key(kind, base_url.is_some(), key_variable.as_deref()) {
            Ok(key) if kind == "openai" => key,
            Ok(_) => {
                let why = format!("{} does not speak the embeddings endpoint", provider.name);
                return Arc::new(Unusable { name: row.name, dimensions, why });
            }
            Err(why) => return Arc::new(Unusable { name: row.name, dimensions, why }),
        };
        let base_url = base_url.as_deref().or(self.settings.endpoint(kind).base_url.as_deref());
        let model = OpenAiModel {
            base_url: base_url.unwrap_or(OPENAI).to_owned(),
            api_key,
            name: row.name,
            model: row.model,
            dimensions,
            send_dimensions: row.shortened,
            limits: Limits {
                texts: usize::try_from(row.batch_texts).unwrap_or(1),
                tokens: row.batch_tokens.unsigned_abs(),
                text_tokens: row.text_tokens.unsigned_abs(),
            },
        };
        let embedder = OpenAiEmbedder::new(self.client.clone(), model);
        Arc::new(embedder.with_places(self.places.clone()))
    }
}

/// The number of the model that the settings name.
async fn usual(conn: &mut Conn, settings: &ModelSettings) -> Result<i32, DbError> {
    let usual = if settings.openai.is_set() { "text-embedding-3-small" } else { BUILT_IN };
    let word = settings.embedding_model.as_deref().unwrap_or(usual);
    let wished = settings.embedding_dimensions;
    let wished = wished.filter(|_| word != BUILT_IN).map(|n| i32::try_from(n).unwrap_or(i32::MAX));
    let found = EmbeddingModel::named(conn, word, wished).await?;
    // Who writes the dimensions down wants them asked for: a server may have another idea.
    if let Some(row) = found.as_ref().filter(|row| row.shortened || wished.is_none()) {
        return Ok(row.id);
    }
    let provider = found.map_or_else(|| "openai".to_owned(), |row| row.provider);
    let new = NewEmbeddingModel::new(
        &provider,
        word,
        wished.unwrap_or(USUAL_DIMENSIONS),
        wished.is_some(),
    );
    new.put(conn).await?;
    let made = EmbeddingModel::named(conn, new.name(), None).await?;
    Ok(made.ok_or(diesel::result::Error::NotFound)?.id)
}

/// A model that cannot be asked: it says why.
struct Unusable {
    name: String,
    dimensions: usize,
    why: String,
}

impl Embedder for Unusable {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, _: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
        ready(Err(EmbedError::Request { detail: self.why.clone() })).boxed()
    }
}
