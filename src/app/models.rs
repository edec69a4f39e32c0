//! Which models answer and embed, from the settings.

use crate::config::{Endpoint, ModelSettings};
use crate::embedding::{Embedder, Hashed, OpenAiEmbedder, OpenAiModel};
use crate::llm::router::Catalogue;
use crate::net::{self, ClientError, ClientOptions};
use crate::store::Db;
use crate::types::Secret;
use std::sync::Arc;

const OPENAI: &str = "https://api.openai.com/v1";
/// The name of the embedder that needs no provider.
const BUILT_IN: &str = "hashed-ngram-384";

/// The models of this server.
pub(super) struct Models {
    pub(super) catalogue: Catalogue,
    pub(super) embedder: Arc<dyn Embedder>,
}

impl Models {
    pub(super) fn new(
        db: &Db,
        settings: &ModelSettings,
        secret: &Secret,
    ) -> Result<Self, ClientError> {
        let client = net::client(&ClientOptions::default())?;
        let Endpoint { key, base_url } = settings.openai.clone();
        let base_url = base_url.unwrap_or_else(|| OPENAI.into());
        let embedding = settings.embedding_model.clone();
        let embedding = embedding.unwrap_or_else(|| match settings.openai.is_set() {
            true => "text-embedding-3-small".into(),
            false => BUILT_IN.into(),
        });
        let embedder: Arc<dyn Embedder> = if embedding == BUILT_IN {
            Arc::new(Hashed)
        } else {
            let model = OpenAiModel {
                base_url,
                api_key: key,
                model: embedding,
                dimensions: settings.embedding_dimensions.unwrap_or(1536),
                send_dimensions: settings.embedding_dimensions.is_some(),
            };
            Arc::new(OpenAiEmbedder::new(client.clone(), model))
        };
        let catalogue = Catalogue::new(db.clone(), client, settings.clone(), secret);
        Ok(Self { catalogue, embedder })
    }
}
