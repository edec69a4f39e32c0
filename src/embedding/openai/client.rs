//! Asking for vectors: a few batches at once, each with a deadline and a few attempts.
//!
//! Unlike an answer, an embedding can be asked for again at any point: nothing was shown to
//! anybody. A pause is spent without a place: others may be luckier.

use std::{sync::Arc, time::Duration};

use async_openai::types::embeddings::{CreateEmbeddingRequest, EmbeddingInput, EncodingFormat};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::time::{sleep, timeout};

use super::{Limits, Places, batch, response};
use crate::types::Secret;
use crate::{
    embedding::{EmbedError, Embedded, Embedder},
    net::{Backoff, Refusal, describe},
};

/// For one attempt at one batch, answer included.
const DEADLINE: Duration = Duration::from_secs(30);
/// Batches of one call that are under way at once.
const AT_ONCE: usize = 4;
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
    /// Of the vector space.
    pub name: String,
    /// The model's name as the server knows it.
    pub model: String,
    /// The length of its vectors; an answer of another length is an error.
    pub dimensions: usize,
    /// Whether to ask for that length: only models that can shorten their vectors accept it.
    pub send_dimensions: bool,
    /// What one request may hold.
    pub limits: Limits,
}

/// A server that speaks the embeddings endpoint.
#[derive(Debug, Clone)]
pub struct OpenAiEmbedder {
    client: reqwest::Client,
    model: OpenAiModel,
    deadline: Duration,
    backoff: Backoff,
    places: Places,
}

impl OpenAiEmbedder {
    /// Nothing is contacted or checked here; a bad URL or key is an error of the first call.
    #[must_use]
    pub fn new(client: reqwest::Client, model: OpenAiModel) -> Self {
        let backoff =
            Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(20), retries: 3 };
        Self { client, model, deadline: DEADLINE, backoff, places: Places::default() }
    }

    /// Shares places with other models; alone it has its own.
    #[must_use]
    pub fn with_places(mut self, places: Places) -> Self {
        self.places = places;
        self
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
        let request = self.client.post(url.clone()).headers(headers);
        let all = Embedded { vectors: Vec::with_capacity(texts.len()), tokens: 0, exact: true };
        let answers = stream::iter(planned(texts, self.model.limits).await?)
            .map(|batch| self.embed_batch(&url, &request, batch))
            .buffered(AT_ONCE);
        answers
            .try_fold(all, |mut all, answer| async move {
                all.vectors.extend(answer.vectors);
                all.tokens += answer.tokens;
                all.exact &= answer.exact;
                Ok(all)
            })
            .await
    }

    async fn embed_batch(
        &self,
        url: &Url,
        request: &reqwest::RequestBuilder,
        batch: batch::Batch,
    ) -> Result<Embedded, EmbedError> {
        let count = batch.texts.len();
        let body = serde_json::to_vec(&self.body(url, batch.texts))
            .map_err(|error| misconfigured(&error.to_string()))?;
        let body = self.ask(request, Bytes::from(body), count).await?;
        let key = self.model.api_key.as_ref();
        let answer = response::parse(&body, count, self.model.dimensions, key)?;
        Ok(Embedded {
            vectors: answer.vectors,
            exact: answer.tokens.is_some(),
            tokens: answer.tokens.unwrap_or_else(|| u64::from(batch.tokens)),
        })
    }

    /// One batch, repeated while that makes sense.
    async fn ask(
        &self,
        request: &reqwest::RequestBuilder,
        body: Bytes,
        texts: usize,
    ) -> Result<Vec<u8>, EmbedError> {
        let mut repetition = 0;
        loop {
            let Some(request) = request.try_clone() else {
                return Err(misconfigured("a request that cannot be repeated"));
            };
            let place = self.places.take(texts).await?;
            let attempt = self.attempt(request.body(body.clone()));
            let error = match timeout(self.deadline, attempt).await {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(error)) => error,
                // Not repeated: a batch that takes this long will again.
                Err(_elapsed) => {
                    return Err(EmbedError::Timeout { after: self.deadline });
                }
            };
            drop(place);
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
        &self.model.name
    }

    fn billed_as(&self) -> &str {
        &self.model.model
    }

    fn dimensions(&self) -> usize {
        self.model.dimensions
    }

    /// What is there to be shortened: OpenAI's since the third, and what is asked for its length anyway.
    fn shortened(&self, dimensions: usize) -> Option<Arc<dyn Embedder>> {
        let can = self.model.send_dimensions || self.model.model.starts_with("text-embedding-3-");
        let model = OpenAiModel { dimensions, send_dimensions: true, ..self.model.clone() };
        let fits = (1..self.model.dimensions).contains(&dimensions);
        (can && fits).then(|| Arc::new(Self { model, ..self.clone() }) as Arc<dyn Embedder>)
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Embedded, EmbedError>> {
        self.embed_all(texts).boxed()
    }
}

async fn planned(texts: Vec<String>, limits: Limits) -> Result<Vec<batch::Batch>, EmbedError> {
    if texts.iter().map(String::len).sum::<usize>() <= INLINE_BYTES {
        return Ok(batch::batches(texts, limits));
    }
    let work = tokio::task::spawn_blocking(move || batch::batches(texts, limits));
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
