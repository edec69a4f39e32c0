//! What a provider thinks of a question: OpenAI's moderations, and servers that speak like it.

use crate::config::ModerationSettings;
use crate::types::Secret;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long it may take: the model waits for it.
const DEADLINE: Duration = Duration::from_secs(3);
/// The most characters of one input; a longer question is several.
const PIECE: usize = 8_000;
/// The most bytes of an answer that are read.
const MOST: usize = 1 << 20;

/// What is to become of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Flagged,
    /// Nobody could say, and the operator wants to be sure.
    Unknown,
}

/// Asks the provider. Cheap to clone.
#[derive(Clone)]
pub struct Moderator(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    url: String,
    model: String,
    authorization: Option<HeaderValue>,
    required: bool,
}

#[derive(Debug, Error)]
enum Failed {
    #[error("it could not be asked: {0}")]
    Http(#[from] reqwest::Error),
    #[error("it answered with status {0}")]
    Status(u16),
    #[error("its answer is not as OpenAI documents it")]
    Answer,
    #[error("it took too long")]
    Deadline,
}

#[derive(Deserialize)]
struct Results {
    results: Vec<Judged>,
}

#[derive(Deserialize)]
struct Judged {
    flagged: bool,
}

impl Moderator {
    /// As the operator set it up.
    #[must_use]
    pub fn new(client: reqwest::Client, settings: &ModerationSettings) -> Self {
        let ModerationSettings { model, url, key, required } = settings;
        let bearer = |key: &Secret| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Self(Arc::new(Inner {
            client,
            url: format!("{url}/moderations"),
            model: model.clone(),
            authorization: key.as_ref().and_then(bearer),
            required: *required,
        }))
    }

    /// Whether a question may be answered. What cannot be judged in time passes, unless the operator
    /// wants it otherwise.
    pub async fn judge(&self, text: &str) -> Verdict {
        let asked = tokio::time::timeout(DEADLINE, self.ask(text)).await;
        let (verdict, outcome) = match asked.unwrap_or(Err(Failed::Deadline)) {
            Ok(true) => (Verdict::Flagged, "flagged"),
            Ok(false) => (Verdict::Passed, "passed"),
            Err(error) => {
                tracing::warn!(%error, "A question could not be moderated");
                let verdict = if self.0.required { Verdict::Unknown } else { Verdict::Passed };
                (verdict, "failed")
            }
        };
        metrics::counter!("docent_moderations_total", "outcome" => outcome).increment(1);
        verdict
    }

    async fn ask(&self, text: &str) -> Result<bool, Failed> {
        let characters: Vec<char> = text.chars().collect();
        let pieces: Vec<String> =
            characters.chunks(PIECE).map(|piece| piece.iter().collect()).collect();
        if pieces.is_empty() {
            return Ok(false);
        }
        let body = json!({"model": self.0.model, "input": pieces}).to_string();
        let mut request = self.0.client.post(&self.0.url).header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.0.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let mut response = request.body(body).send().await?;
        if !response.status().is_success() {
            return Err(Failed::Status(response.status().as_u16()));
        }
        let mut answer = Vec::new();
        while let Some(more) = response.chunk().await? {
            answer.extend_from_slice(&more);
            if answer.len() > MOST {
                return Err(Failed::Answer);
            }
        }
        let Results { results } =
            serde_json::from_slice(&answer).map_err(|_unread| Failed::Answer)?;
        // One for each piece: what was not judged did not pass.
        if results.len() != pieces.len() {
            return Err(Failed::Answer);
        }
        Ok(results.iter().any(|judged| judged.flagged))
    }
}
