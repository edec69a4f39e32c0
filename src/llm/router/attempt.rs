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
    /// `None`: this one answered.
    pub error: Option<Failure>,
    /// The provider's HTTP status, where it refused with one.
    pub status: Option<u16>,
    pub started: DateTime<Utc>,
    /// Until the first event, or until it failed.
    pub took: Duration,
    /// What the provider reported before it failed: it will want to be paid for it.
    #[serde(skip)]
    pub usage: TokenUsage,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// As [`LlmError::code`], or `skipped` when it was not asked at all.
    pub code: String,
    /// For logs and admins.
    pub detail: String,
}

impl From<&LlmError> for Failure {
    fn from(error: &LlmError) -> Self {
        Self { code: error.code().to_owned(), detail: error.to_string() }
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
