//! The client.

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{decoder::Decoder, request};
use crate::llm::providers::link::{Deadlines, Link};
use crate::{
    llm::{Answering, ChatModel, ChatRequest, LlmError},
    net::Clients,
    types::Secret,
};

/// Gemini.
#[derive(Debug, Clone)]
pub struct Gemini {
    link: Link,
}

impl Gemini {
    /// `base_url` is what comes before `/models/…`, such as
    /// `https://generativelanguage.googleapis.com/v1beta`.
    /// Nothing is contacted or checked here; a bad URL or key is an error of the first request.
    #[must_use]
    pub fn new(clients: Clients, base_url: &str, key: Option<Secret>) -> Self {
        Self { link: Link::new(clients, base_url, key) }
    }

    /// Replaces the deadlines.
    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        self.link.deadlines = deadlines;
        self
    }

    async fn post(&self, request: ChatRequest) -> Result<Answering, LlmError> {
        // A tuned model's name brings its folder.
        let folder = if request.model.contains('/') { "" } else { "models/" };
        let path = format!("{folder}{}:streamGenerateContent", request.model);
        let mut url = self.link.url(&path)?;
        url.query_pairs_mut().append_pair("alt", "sse");
        let question = self.link.question(url, ("x-goog-api-key", ""), &request::body(request))?;
        self.link.ask(question, Decoder::default()).await
    }
}

impl ChatModel for Gemini {
    fn provider(&self) -> &'static str {
        "gemini"
    }

    fn ask(&self, request: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>> {
        self.post(request).boxed()
    }
}
