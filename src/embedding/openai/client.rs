//! Asking for vectors: batches one after another, each with a deadline and a few attempts.
//!
//! Unlike an answer, an embedding can be asked for again at any point: nothing was shown to
//! anybody. Batches run in order, not at once: the caller bounds how much work is under way.

use std::time::Duration;

use async_openai::types::embeddings::{CreateEmbeddingRequest, EmbeddingInput, EncodingFormat};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::time::{sleep, timeout};

use super::{batch, response};
use crate::types::Secret;
use crate::{
    embedding::{EmbedError, Embedded, Embedder},
    net::{Backoff, Refusal, describe},
};

/// For one attempt at one batch, answer included.
const DEADLINE: Duration = Duration::from_secs(30);
/// 128 vectors of 3072 floats as text are about 5 MB.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// Above this the texts are counted and cut away from the async thread.
const INLINE_BYTES: usize = 16 * 1024;

/// Which model at which server.
#[derive(Debug, Clone)]
pub struct OpenAiModel {
    /// What comes before `/embeddings`, such as `https://api.openai.com/v1`.
    pub base_url: String,
    /// The provider's key, where it wants one.
    pub api_key: Option<Secret>,
    /// The model's name as the server knows it.
    pub model: String,
    /// The length of its vectors; an answer of another length is an error.
    pub dimensions: usize,
    /// Whether to ask for that length: only models that can shorten their vectors accept it.
    pub send_dimensions: bool,
}

/// A server that speaks the embeddings endpoint.
#[derive(Debug, Clone)]
pub struct OpenAiEmbedder {
    client: reqwest::Client,
    model: OpenAiModel,
    name: String,
    deadline: Duration,
    backoff: Backoff,
}

impl OpenAiEmbedder {
    /// Nothing is contacted or checked here; a bad URL or key is an error of the first call.
    #[must_use]
    pub fn new(client: reqwest::Client, model: OpenAiModel) -> Self {
        let name = format!("{}-{}", model.model, model.dimensions);
        let backoff =
            Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(20), retries: 3 };
        Self { client, model, name, deadline: DEADLINE, backoff }
    }

    /// Replaces the deadline of one attempt.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Replaces the pauses between attempts and their number.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    async fn embed_all(&self, texts: Vec<String>) -> Result<Embedded, EmbedError> {
        let (url, headers) = (self.url()?, self.headers()?);
        let mut all = Embedded { vectors: Vec::with_capacity(texts.len()), tokens: 0, exact: true };
        for batch in planned(texts).await? {
            let count = batch.texts.len();
            let body = serde_json::to_vec(&self.body(&url, batch.texts))
                .map_err(|error| misconfigured(&error.to_string()))?;
            let request = self.client.post(url.clone()).headers(headers.clone());
            let body = self.ask(&request, Bytes::from(body)).await?;
            let key = self.model.api_key.as_ref();
            let answer = response::parse(&body, count, self.model.dimensions, key)?;
            all.vectors.extend(answer.vectors);
            all.exact &= answer.tokens.is_some();
            all.tokens += answer.tokens.unwrap_or_else(|| u64::from(batch.tokens));
        }
        Ok(all)
    }

    /// One batch, repeated while that makes sense.
    async fn ask(
        &self,
        request: &reqwest::RequestBuilder,
        body: Bytes,
    ) -> Result<Vec<u8>, EmbedError> {
        let mut repetition = 0;
        loop {
            let Some(request) = request.try_clone() else {
                return Err(misconfigured("a request that cannot be repeated"));
            };
            let error = match timeout(self.deadline, self.attempt(request.body(body.clone()))).await
            {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(error)) => error,
                // Not repeated: a batch that takes this long will again.
                Err(_elapsed) => {
                    return Err(EmbedError::Timeout { after: self.deadline });
                }
            };
            let pause = match &error {
                EmbedError::Connect { .. } => self.backoff.pause(repetition, None),
                EmbedError::Status(refusal) if refusal.is_transient() => {
                    self.backoff.pause(repetition, refusal.retry_after)
                }
                _ => None,
            };
            let Some(pause) = pause else {
                return Err(error);
            };
            repetition += 1;
            tracing::info!(
                embedding.attempt = repetition,
                embedding.pause_ms = pause.as_millis(),
                embedding.error = %error,
                "asking for embeddings again"
            );
            sleep(pause).await;
        }
    }

    async fn attempt(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, EmbedError> {
        let response = request.send().await.map_err(not_sent)?;
        if response.status() != StatusCode::OK {
            let refusal = Refusal::read(response, self.model.api_key.as_ref()).await;
            return Err(EmbedError::Status(refusal));
        }
        read(response).await
    }

    fn body(&self, url: &Url, texts: Vec<String>) -> CreateEmbeddingRequest {
        // A quarter of the bytes; other servers may not know it.
        let openai = url.host_str() == Some("api.openai.com");
        let format = if openai { EncodingFormat::Base64 } else { EncodingFormat::Float };
        let dimensions = u32::try_from(self.model.dimensions).ok();
        CreateEmbeddingRequest {
            model: self.model.model.clone(),
            input: EmbeddingInput::StringArray(texts),
            encoding_format: Some(format),
            user: None,
            dimensions: dimensions.filter(|_| self.model.send_dimensions),
        }
    }

    fn url(&self) -> Result<Url, EmbedError> {
        let base = self.model.base_url.trim().trim_end_matches('/');
        Url::parse(&format!("{base}/embeddings")).map_err(|error| misconfigured(&error.to_string()))
    }

    fn headers(&self) -> Result<HeaderMap, EmbedError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.model.api_key {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
                .map_err(|_names_the_key| misconfigured("the key cannot be sent in a header"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(headers)
    }
}

impl Embedder for OpenAiEmbedder {
    fn name(&self) -> &str {
        &self.name
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
        self.embed_all(texts).boxed()
    }
}

async fn planned(texts: Vec<String>) -> Result<Vec<batch::Batch>, EmbedError> {
    if texts.iter().map(String::len).sum::<usize>() <= INLINE_BYTES {
        return Ok(batch::batches(texts));
    }
    let work = tokio::task::spawn_blocking(move || batch::batches(texts));
    work.await.map_err(|error| EmbedError::Internal { detail: error.to_string() })
}

async fn read(response: Response) -> Result<Vec<u8>, EmbedError> {
    let mut chunks = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(not_sent)?);
        if body.len() > MAX_BODY {
            return Err(EmbedError::Protocol { detail: "an endless body".to_owned() });
        }
    }
    Ok(body)
}

fn misconfigured(detail: &str) -> EmbedError {
    EmbedError::Request { detail: detail.to_owned() }
}

fn not_sent(error: reqwest::Error) -> EmbedError {
    if error.is_builder() {
        EmbedError::Request { detail: describe(error) }
    } else {
        EmbedError::Connect { detail: describe(error) }
    }
}
