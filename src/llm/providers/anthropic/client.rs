//! The client.

use futures_util::{FutureExt as _, future::BoxFuture};
use reqwest::header::HeaderValue;

use super::{decoder::Decoder, request};
use crate::llm::providers::link::{Deadlines, Link};
use crate::{
    llm::{Answering, ChatModel, ChatRequest, LlmError},
    net::Clients,
    types::Secret,
};

/// The protocol's version; later ones refuse what older models take.
const VERSION: &str = "2023-06-01";

/// Anthropic, or a server that speaks its protocol.
#[derive(Debug, Clone)]
pub struct Anthropic {
    link: Link,
}

impl Anthropic {
    /// `base_url` is what comes before `/messages`, such as `https://api.anthropic.com/v1`.
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
        let url = self.link.url("messages")?;
        let body = request::body(request);
        let mut question = self.link.question(url, ("x-api-key", ""), &body)?;
        question.headers.insert("anthropic-version", HeaderValue::from_static(VERSION));
        self.link.ask(question, Decoder::default()).await
    }
}

impl ChatModel for Anthropic {
    fn provider(&self) -> &'static str {
        "anthropic"
    }

    fn ask(&self, request: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>> {
        self.post(request).boxed()
    }
}
