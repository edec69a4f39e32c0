//! Asking: one POST, its deadline, and the few cases worth asking twice.
//!
//! A request is repeated only while no response has begun: no connection, 429 or 5xx. Anything
//! later may already have been billed and read. Deliberately absent: fallback to another provider.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    answer,
    request::{self, Dialect},
};
use crate::types::Secret;
use crate::{
    llm::{Answering, ChatModel, ChatRequest, ChatStream, LlmError, Wait},
    net::{Backoff, IdleLimit, Refusal, describe, events},
};

/// A response that came whole instead of streamed is read up to here.
const MAX_WHOLE_BODY: usize = 4 * 1024 * 1024;

/// How long each phase of an answer may take. The whole answer has no limit here: a turn has.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From sending the request to the response's headers, for each attempt.
    pub headers: Duration,
    /// From the headers to the first text or reasoning.
    pub first_token: Duration,
    /// Between two chunks of bytes after that, keep-alive comments included.
    pub idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(20),
            first_token: Duration::from_secs(30),
            idle: Duration::from_secs(20),
        }
    }
}

/// A server that speaks chat completions.
#[derive(Debug, Clone)]
pub struct OpenAi {
    client: reqwest::Client,
    base_url: String,
    key: Option<Secret>,
    deadlines: Deadlines,
    backoff: Backoff,
}

impl OpenAi {
    /// `base_url` is what comes before `/chat/completions`, such as `https://api.openai.com/v1`.
    /// Nothing is contacted or checked here; a bad URL or key is an error of the first request.
    #[must_use]
    pub fn new(client: reqwest::Client, base_url: &str, api_key: Option<Secret>) -> Self {
        Self {
            client,
            base_url: base_url.trim().trim_end_matches('/').to_owned(),
            key: api_key,
            deadlines: Deadlines::default(),
            backoff: Backoff {
                base: Duration::from_millis(400),
                cap: Duration::from_secs(5),
                retries: 2,
            },
        }
    }

    /// Replaces the deadlines.
    #[must_use]
    pub fn with_deadlines(mut self, deadlines: Deadlines) -> Self {
        self.deadlines = deadlines;
        self
    }

    /// Replaces the pauses between attempts and their number.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    async fn post(&self, request: ChatRequest) -> Result<ChatStream, LlmError> {
        let url = Url::parse(&format!("{}/chat/completions", self.base_url))
            .map_err(|error| misconfigured(&error.to_string()))?;
        let headers = self.headers()?;
        let dialect = Dialect::of_host(url.host_str().unwrap_or_default());
        let body = serde_json::to_vec(&request::body(request, dialect))
            .map_err(|error| misconfigured(&error.to_string()))?;
        // Cloning Bytes for the next attempt copies no prompt.
        let body = bytes::Bytes::from(body);
        let mut repetition = 0;
        loop {
            let sent = self.client.post(url.clone()).headers(headers.clone()).body(body.clone());
            let error = match self.attempt(sent).await {
                Ok(response) => return self.open(response).await,
                Err(error) => error,
            };
            let pause = match &error {
                LlmError::Connect { .. } => self.backoff.pause(repetition, None),
                LlmError::Status(refusal) if refusal.is_transient() => {
                    self.backoff.pause(repetition, refusal.retry_after)
                }
                _ => None,
            };
            let Some(pause) = pause else {
                return Err(error);
            };
            repetition += 1;
            tracing::info!(
                llm.attempt = repetition,
                llm.pause_ms = pause.as_millis(),
                llm.error = %error,
                "asking the model again"
            );
            sleep(pause).await;
        }
    }

    async fn attempt(&self, request: reqwest::RequestBuilder) -> Result<Response, LlmError> {
        let after = self.deadlines.headers;
        let response = match timeout(after, request.send()).await {
            Err(_elapsed) => {
                return Err(LlmError::Timeout { what: Wait::Headers, after });
            }
            Ok(Err(error)) => return Err(not_sent(error)),
            Ok(Ok(response)) => response,
        };
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        Err(LlmError::Status(Refusal::read(response, self.key.as_ref()).await))
    }

    /// Makes a stream of a 200, whatever it holds.
    async fn open(&self, response: Response) -> Result<ChatStream, LlmError> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
            // An error that could not be a status any more, or a server that cannot stream.
            "application/json" => {
                answer::whole(&self.whole_body(response).await?, self.key.as_ref())
            }
            "text/html" => Err(LlmError::Protocol { detail: "an HTML page".to_owned() }),
            // Servers that forget the type, or say text/plain, do stream.
            _ => {
                // Before the first token silence is thinking, and has its own, longer deadline.
                let Deadlines { first_token, idle, .. } = self.deadlines;
                let limit = IdleLimit::new(first_token.max(idle));
                let frames = events(response.bytes_stream(), limit.clone());
                Ok(answer::streamed(frames, limit, self.deadlines, self.key.clone()))
            }
        }
    }

    async fn whole_body(&self, response: Response) -> Result<Vec<u8>, LlmError> {
        let after = self.deadlines.first_token;
        let until = Instant::now() + after;
        let mut chunks = response.bytes_stream();
        let mut body = Vec::new();
        loop {
            match timeout_at(until, chunks.next()).await {
                Err(_elapsed) => {
                    return Err(LlmError::Timeout { what: Wait::FirstToken, after });
                }
                Ok(None) => return Ok(body),
                Ok(Some(Err(error))) => {
                    return Err(LlmError::Broken { detail: describe(error) });
                }
                Ok(Some(Ok(chunk))) => body.extend_from_slice(&chunk),
            }
            if body.len() > MAX_WHOLE_BODY {
                return Err(LlmError::Protocol { detail: "an endless JSON body".to_owned() });
            }
        }
    }

    fn headers(&self) -> Result<HeaderMap, LlmError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(key) = &self.key {
            let mut bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()))
                .map_err(|_names_the_key| misconfigured("the key cannot be sent in a header"))?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        Ok(headers)
    }
}

impl ChatModel for OpenAi {
    fn provider(&self) -> &'static str {
        "openai"
    }

    fn ask(&self, request: ChatRequest) -> BoxFuture<'_, Result<Answering, LlmError>> {
        async { Ok(self.post(request).await?.into()) }.boxed()
    }
}

fn misconfigured(detail: &str) -> LlmError {
    LlmError::Request { detail: detail.to_owned() }
}

/// A connection that broke after the request left is not "no connection": the provider may be at
/// work on it.
fn not_sent(error: reqwest::Error) -> LlmError {
    if error.is_builder() {
        LlmError::Request { detail: describe(error) }
    } else if error.is_connect() {
        LlmError::Connect { detail: describe(error) }
    } else {
        LlmError::Broken { detail: describe(error) }
    }
}
