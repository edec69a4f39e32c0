//! What became of asking: an answer that began, or none, and each attempt on the way.

use crate::llm::{ChatStream, LlmError, TokenUsage};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One model that was asked, for admins; users never see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The model's id in the catalogue.
    pub model: String,
    pub provider: String,
    /// `None`: this one answered, and came to its end.
    pub error: Option<Failure>,
    /// The provider's HTTP status, where it refused with one.
    pub status: Option<u16>,
    pub started: DateTime<Utc>,
    /// Until the first event, or until it failed before that.
    pub took: Duration,
    /// What the provider reported before it failed: it will want to be paid for it.
    #[serde(default)]
    pub usage: TokenUsage,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// As [`LlmError::code`], or [`Failure::SKIPPED`].
    pub code: String,
    /// Why it was skipped: what it cannot do, or the code of the failure that its breaker remembers.
    #[serde(default)]
    pub because: Option<String>,
    /// For logs and admins.
    pub detail: String,
}

impl Failure {
    /// It was not asked at all: it cannot do it, or its breaker is open.
    pub const SKIPPED: &str = "skipped";
}

impl From<&LlmError> for Failure {
    fn from(error: &LlmError) -> Self {
        Self { code: error.code().to_owned(), because: None, detail: error.to_string() }
    }
}

/// An answer that began.
pub struct Begun {
    /// Which of the route's candidates answers.
    pub candidate: usize,
    /// The whole answer: its beginning was looked at and put back.
    pub events: ChatStream,
    /// In order; the last one is the one that answers.
    pub attempts: Vec<Attempt>,
}

/// No candidate began to answer.
#[derive(Debug)]
pub struct Exhausted {
    pub attempts: Vec<Attempt>,
    /// Of the last one.
    pub error: LlmError,
}
