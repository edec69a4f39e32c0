//! The client.

use futures_util::{FutureExt as _, future::BoxFuture};

use super::{decoder::Decoder, dialect::Dialect, request};
use crate::llm::providers::link::{Deadlines, Link};
use crate::{
    llm::{Answering, ChatModel, ChatRequest, LlmError},
    net::Clients,
    types::Secret,
};

/// A server that speaks chat completions.
#[derive(Debug, Clone)]
pub struct OpenAi {
    link: Link,
}

impl OpenAi {
    /// `base_url` is what comes before `/chat/completions`, such as `https://api.openai.com/v1`, or for
    /// Azure `https://NAME.openai.azure.com/openai/deployments/MODEL?api-version=2024-10-21`.
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
        let url = self.link.url("chat/completions")?;
        let dialect = Dialect::of_host(url.host_str().unwrap_or_default());
        let body = request::body(request, dialect);
        let question = self.link.question(url, dialect.credentials(), &body)?;
        self.link.ask(question, Decoder::default()).await
    }
}

impl ChatModel for OpenAi {
    fn provider(&self) -> &'static str {
        "openai"
    }

    fn ask(&self, request: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>> {
        self.post(request).boxed()
    }
}
