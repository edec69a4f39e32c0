//! How a model fails, as values.
//!
//! `Display` is for logs: it names statuses, codes and a provider's short message, never a prompt,
//! a key or a whole body. [`LlmError::public_message`] is for the person who asked and names
//! nothing about us.

use std::{fmt, time::Duration};

use thiserror::Error;

use crate::net::{Complaint, Refusal};

/// What was being waited for when time ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The response's status line and headers.
    Headers,
    /// The first text of the answer.
    FirstToken,
    /// The end of the answer, however it flows.
    End,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Headers => "response headers",
            Self::FirstToken => "the first token",
            Self::End => "the end of the answer",
        })
    }
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, Error)]
pub enum LlmError {
    /// The request cannot be sent as configured: a bad URL or a key with impossible characters.
    #[error("the model request cannot be built: {detail}")]
    Request {
        /// What is wrong.
        detail: String,
    },
    /// No connection: DNS, TCP or TLS.
    #[error("no connection to the model provider: {detail}")]
    Connect {
        /// The chain of causes, without the URL.
        detail: String,
    },
    /// An HTTP status outside 2xx.
    #[error("the model provider answered {}: {}", .0.status, .0.complaint)]
    Status(Refusal),
    /// The provider reported a failure in a response that began well.
    #[error("the model provider reported a failure: {0}")]
    Upstream(Complaint),
    /// Something did not come in time.
    #[error("the model provider sent nothing within {after:?} while waiting for {what}")]
    Timeout {
        /// What was awaited.
        what: Wait,
        /// The deadline.
        after: Duration,
    },
    /// The stream went silent in the middle.
    #[error("the model stream was silent for {after:?}")]
    Idle {
        /// The deadline.
        after: Duration,
    },
    /// The stream ended without a finish reason and without `[DONE]`.
    #[error("the model stream ended before the answer did")]
    Cut,
    /// The connection failed in the middle.
    #[error("the model connection broke: {detail}")]
    Broken {
        /// The chain of causes, without the URL.
        detail: String,
    },
    /// The answer is complete, and nothing is in it.
    #[error("the model answered with nothing")]
    Empty,
    /// The answer is not what the protocol says.
    #[error("the model provider broke the protocol: {detail}")]
    Protocol {
        /// What was wrong, without the offending bytes.
        detail: String,
    },
}

impl LlmError {
    /// A stable machine code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request { .. } => "model_misconfigured",
            Self::Connect { .. } => "model_unreachable",
            Self::Status(refusal) => by_status(refusal),
            Self::Upstream(complaint) => by_complaint(complaint).unwrap_or("model_failed"),
            Self::Timeout { .. } | Self::Idle { .. } => "model_timeout",
            Self::Cut | Self::Broken { .. } => "model_cut_off",
            Self::Empty => "model_empty",
            Self::Protocol { .. } => "model_protocol",
        }
    }

    /// Whether asking again, or asking another provider, may succeed. Says nothing about whether
    /// the client already saw part of the answer: that is the caller's to know.
    #[must_use]
    pub fn retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Idle { .. }
            | Self::Cut
            | Self::Broken { .. }
            | Self::Empty
            | Self::Protocol { .. } => true,
            Self::Status(refusal) => self.code() != "model_unpaid" && refusal.is_transient(),
            Self::Upstream(_) => matches!(
                self.code(),
                "model_failed" | "model_overloaded" | "model_busy" | "model_timeout"
            ),
            Self::Request { .. } => false,
        }
    }

    /// How long the provider asked us to wait, where it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// A sentence for the end user.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self.code() {
            "model_busy" | "model_overloaded" => {
                "The language model is busy right now. Please try again in a moment."
            }
            "model_too_long" => {
                "This conversation is too long for the language model. Start a new conversation \
                 or ask a shorter question."
            }
            "model_refused" => "The language model declined to answer this.",
            "model_misconfigured" | "model_unauthorized" | "model_unpaid" | "model_unknown" => {
                "The language model is not set up correctly. Please tell your administrator."
            }
            "model_timeout" => "The language model took too long to answer. Please try again.",
            "model_cut_off" => "The answer was cut off. Please try again.",
            "model_unreachable" => "The language model cannot be reached. Please try again later.",
            _ => "The language model could not answer. Please try again.",
        }
        .to_owned()
    }
}

fn by_status(refusal: &Refusal) -> &'static str {
    if let Some(code) = by_complaint(&refusal.complaint) {
        return code;
    }
    match refusal.status {
        401 | 403 => "model_unauthorized",
        402 => "model_unpaid",
        404 => "model_unknown",
        413 => "model_too_long",
        429 => "model_busy",
        503 | 529 => "model_overloaded",
        504 => "model_timeout",
        _ => "model_failed",
    }
}

/// What says more than a status does: a code, or the words of servers whose codes say nothing.
fn by_complaint(complaint: &Complaint) -> Option<&'static str> {
    let code = complaint.code.as_deref().and_then(by_code);
    code.or_else(|| by_words(complaint.message.as_deref()?))
}

/// The codes of all providers; none means two things.
fn by_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "insufficient_quota" | "billing_hard_limit_reached" | "billing_error" => "model_unpaid",
        "context_length_exceeded"
        | "string_above_max_length"
        | "request_too_large"
        | "exceed_context_size_error" => "model_too_long",
        "content_filter" | "content_policy_violation" => "model_refused",
        "invalid_api_key"
        | "invalid_authentication"
        | "authentication_error"
        | "permission_error"
        | "api_key_invalid"
        | "unauthenticated"
        | "permission_denied" => "model_unauthorized",
        "model_not_found" | "not_found_error" | "not_found" => "model_unknown",
        "rate_limit_exceeded" | "rate_limit_error" | "resource_exhausted" | "429" => "model_busy",
        "overloaded_error" | "overloaded" | "unavailable" | "503" | "529" => "model_overloaded",
        "timeout_error" | "deadline_exceeded" => "model_timeout",
        _ => return None,
    })
}

fn by_words(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&[
        "maximum context length",
        "prompt is too long",
        "input token count",
        "exceeds the available context size",
    ]) {
        Some("model_too_long")
    } else if says(&["credit balance is too low"]) {
        Some("model_unpaid")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, code: Option<&str>) -> LlmError {
        let complaint = Complaint { code: code.map(Into::into), message: None };
        LlmError::Status(Refusal { status, complaint, retry_after: None })
    }

    #[test]
    fn codes_follow_the_complaint_before_the_status() {
        assert_eq!(status(400, Some("context_length_exceeded")).code(), "model_too_long");
        assert_eq!(status(429, Some("insufficient_quota")).code(), "model_unpaid");
        assert_eq!(status(429, None).code(), "model_busy");
        assert_eq!(status(500, Some("server_error")).code(), "model_failed");
        assert_eq!(status(401, Some("whatever")).code(), "model_unauthorized");
    }

    #[test]
    fn words_tell_what_codes_do_not() {
        let words = |message: &str| {
            let (code, message) = (Some("invalid_request_error".into()), Some(message.into()));
            let complaint = Complaint { code, message };
            LlmError::Status(Refusal { status: 400, complaint, retry_after: None }).code()
        };
        for (message, code) in [
            ("This model's maximum context length is 8192 tokens.", "model_too_long"),
            ("prompt is too long: 210000 tokens > 200000 maximum", "model_too_long"),
            ("The input token count (9) exceeds the maximum allowed (8).", "model_too_long"),
            ("Your credit balance is too low to access the API.", "model_unpaid"),
            ("messages: roles must alternate", "model_failed"),
        ] {
            assert_eq!(words(message), code, "{message}");
        }
    }

    #[test]
    fn only_what_may_pass_is_retryable() {
        assert!(status(429, None).retryable());
        assert!(status(502, None).retryable());
        assert!(!status(429, Some("insufficient_quota")).retryable());
        assert!(!status(400, None).retryable());
        assert!(LlmError::Cut.retryable());
        let upstream =
            |code: &str| LlmError::Upstream(Complaint { code: Some(code.into()), message: None });
        assert!(upstream("server_error").retryable());
        assert!(!upstream("content_filter").retryable());
    }

    #[test]
    fn the_log_line_is_readable() {
        let error = status(503, Some("overloaded"));
        assert_eq!(error.to_string(), "the model provider answered 503: overloaded");
        assert!(error.public_message().contains("busy"));
    }
}
