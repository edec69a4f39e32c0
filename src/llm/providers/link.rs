//! The exchange with a provider: one POST, its deadlines, and what its refusals mean.
//!
//! A question is asked once. Whether it is worth asking again, here or elsewhere, is for whoever knows
//! what else there is.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{
    Response, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::{answer, limits, said::Decode};
use crate::types::Secret;
use crate::{
    llm::{Answering, ChatStream, LlmError, Wait},
    net::{Clients, IdleLimit, Refusal, describe, events},
};

/// A response that came whole instead of streamed is read up to here.
const MAX_WHOLE_BODY: usize = 4 * 1024 * 1024;

/// How long each phase of an answer may take. The whole answer has no limit here: a turn has.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From sending the request to the response's headers.
    pub headers: Duration,
    /// From the headers to the first sign of an answer.
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

/// Where a provider is, how it knows us, and how patient we are.
#[derive(Debug, Clone)]
pub(super) struct Link {
    clients: Clients,
    base_url: String,
    key: Option<Secret>,
    pub(super) deadlines: Deadlines,
}

/// A request that is ready to be sent.
pub(super) struct Question {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Link {
    pub(super) fn new(clients: Clients, base_url: &str, key: Option<Secret>) -> Self {
        let base_url = base_url.trim().to_owned();
        Self { clients, base_url, key, deadlines: Deadlines::default() }
    }

    /// The address below the base; a query of the base stays.
    pub(super) fn url(&self, path: &str) -> Result<Url, LlmError> {
        let mut url = Url::parse(&self.base_url).map_err(|error| misconfigured(&error))?;
        let path = format!("{}/{path}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(url)
    }

    /// A question whose key stands in the header `name`, after `prefix`.
    pub(super) fn question(
        &self,
        url: Url,
        (name, prefix): (&'static str, &str),
        body: &impl Serialize,
    ) -> Result<Question, LlmError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(key) = &self.key {
            let mut value = HeaderValue::try_from(format!("{prefix}{}", key.expose()))
                .map_err(|_names_the_key| misconfigured(&"the key cannot be sent in a header"))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        let body = serde_json::to_vec(body).map_err(|error| misconfigured(&error))?.into();
        Ok(Question { url, headers, body })
    }

    /// Asks; `decoder` reads the answer.
    pub(super) async fn ask<D: Decode + 'static>(
        &self,
        question: Question,
        decoder: D,
    ) -> Result<Answering, LlmError> {
        let Question { url, headers, body } = question;
        let sent = self.clients.here().post(url).headers(headers).body(body).send();
        let after = self.deadlines.headers;
        let response = match timeout(after, sent).await {
            Err(_elapsed) => return Err(LlmError::Timeout { what: Wait::Headers, after }),
            Ok(Err(error)) => return Err(not_sent(error)),
            Ok(Ok(response)) => response,
        };
        let headroom = limits::headroom(response.headers());
        if response.status() != StatusCode::OK {
            let key = self.key.as_ref();
            let (mut refusal, body) = Refusal::read_with_body(response, key).await;
            refusal.complaint = decoder.complaint(&body, key);
            refusal.retry_after = refusal.retry_after.or_else(|| decoder.retry_after(&body));
            if refusal.status == 429 {
                refusal.retry_after = refusal.retry_after.or_else(|| headroom.used_up());
            }
            return Err(LlmError::Status(refusal));
        }
        Ok(Answering { events: self.open(response, decoder).await?, headroom })
    }

    /// Makes a stream of a 200, whatever it holds.
    async fn open<D: Decode + 'static>(
        &self,
        response: Response,
        decoder: D,
    ) -> Result<ChatStream, LlmError> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        match kind.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
            // An error that could not be a status any more, or a server that cannot stream.
            "application/json" => {
                answer::whole(&self.whole_body(response).await?, decoder, self.key.as_ref())
            }
            "text/html" => Err(LlmError::Protocol { detail: "an HTML page".to_owned() }),
            // Servers that forget the type, or say text/plain, do stream.
            _ => {
                // Before the first token silence is thinking, and has its own, longer deadline.
                let Deadlines { first_token, idle, .. } = self.deadlines;
                let limit = IdleLimit::new(first_token.max(idle));
                let frames = events(response.bytes_stream(), limit.clone());
                Ok(answer::streamed(frames, limit, self.deadlines, decoder, self.key.clone()))
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
}

fn misconfigured(detail: &impl ToString) -> LlmError {
    LlmError::Request { detail: detail.to_string() }
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
