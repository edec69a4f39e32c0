//! Which models answer and embed, from the settings.

use crate::config::ModelSettings;
use crate::embedding::{Embedder, Hashed, OpenAiEmbedder, OpenAiModel};
use crate::llm::router::{Candidate, Capabilities, Catalogue};
use crate::llm::{ChatModel, Demo, OpenAi};
use crate::net::{self, ClientError, ClientOptions};
use std::sync::Arc;
use std::time::Duration;

const OPENAI: &str = "https://api.openai.com/v1";
/// The name of the embedder that needs no provider.
const BUILT_IN: &str = "hashed-ngram-384";

/// The models of this server.
pub(super) struct Models {
    pub(super) chat: Arc<dyn ChatModel>,
    pub(super) chat_name: String,
    pub(super) embedder: Arc<dyn Embedder>,
}

impl Models {
    /// The one model there is.
    pub(super) fn catalogue(&self) -> Catalogue {
        Catalogue::of(Candidate {
            id: self.chat_name.clone(),
            provider: self.chat.provider().to_owned(),
            name: self.chat_name.clone(),
            model: Arc::clone(&self.chat),
            context_window: 128_000,
            max_output: u32::MAX,
            capabilities: Capabilities::ALL,
            total: Duration::from_secs(300),
        })
    }

    pub(super) fn new(settings: &ModelSettings) -> Result<Self, ClientError> {
        let client = net::client(&ClientOptions::default())?;
        let base_url = settings.openai_base_url.clone().unwrap_or_else(|| OPENAI.into());
        let key = settings.openai_api_key.clone();
        let (chat, chat_name): (Arc<dyn ChatModel>, String) = if settings.has_provider() {
            let name = settings.chat_model.clone().unwrap_or_else(|| "gpt-4o-mini".into());
            (Arc::new(OpenAi::new(client.clone(), &base_url, key.clone())), name)
        } else {
            (Arc::new(Demo::new(Duration::from_millis(15))), "demo".into())
        };
        let embedding = settings.embedding_model.clone();
        let embedding = embedding.unwrap_or_else(|| match settings.has_provider() {
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
            Arc::new(OpenAiEmbedder::new(client, model))
        };
        Ok(Self { chat, chat_name, embedder })
    }
}
