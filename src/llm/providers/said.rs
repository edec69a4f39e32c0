//! What one frame of a provider's stream says, in words that all providers share.

use serde_json::Value;

use crate::{
    llm::{ChatEvent, FinishReason, TokenUsage},
    net::Complaint,
    types::Secret,
};
use std::time::Duration;

/// More tokens than any model's window: a count above it is a bug of the server, not a bill.
const ABSURD_TOKENS: u64 = 100_000_000;

/// The meaning of a frame; a frame may mean nothing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    /// Texts, thoughts and calls, in order.
    pub(super) events: Vec<ChatEvent>,
    /// The model is at work though it shows nothing.
    pub(super) alive: bool,
    /// The answer is complete.
    pub(super) finish: Option<FinishReason>,
    /// What is known now; what is absent stays as it was.
    pub(super) usage: TokenUsage,
    /// Nothing follows.
    pub(super) done: bool,
    /// The provider reports a failure instead: the whole frame.
    pub(super) failure: Option<Value>,
}

impl Said {
    /// More of the answer, if it is any.
    pub(super) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.events.push(ChatEvent::Text(text.to_owned()));
        }
    }

    /// More of what the model thinks, if it is any.
    pub(super) fn reasoning(&mut self, text: &str, signature: Option<String>) {
        if !text.is_empty() || signature.is_some() {
            self.events.push(ChatEvent::Reasoning { text: text.to_owned(), signature });
        }
    }

    /// More of a call's arguments, if it is any.
    pub(super) fn input(&mut self, index: u32, json: &str) {
        if !json.is_empty() {
            self.events.push(ChatEvent::ToolInput { index, json: json.to_owned() });
        }
    }

    /// A failure that the provider puts in other words than an error.
    pub(super) fn failed(code: &str, message: &str) -> Self {
        let failure = serde_json::json!({"error": {"code": code, "message": message}});
        Self { failure: Some(failure), ..Self::default() }
    }
}

/// Reads one answer of one provider.
pub(super) trait Decode: Send {
    /// Reads an event: its name, which most providers do not use, and its data, which is not blank.
    /// `None` when that is not the provider's protocol. An answer that came whole instead of
    /// streamed is read the same way.
    fn read(&mut self, name: &str, data: &str) -> Option<Said>;

    /// What the body of a failure complains of; `key` must not survive in it.
    fn complaint(&self, body: &Value, key: Option<&Secret>) -> Complaint {
        Complaint::parse(body, key)
    }

    /// How long a refusal asks us to wait, where it says so in its body.
    fn retry_after(&self, _body: &Value) -> Option<Duration> {
        None
    }
}

/// A count of tokens, where it can be one.
pub(super) fn count(value: Option<&Value>) -> Option<u64> {
    value?.as_u64().filter(|n| *n <= ABSURD_TOKENS)
}

/// A part of a count. One that is larger than its whole is a mistake, and the whole is what is
/// billed.
pub(super) fn part_of(whole: Option<u64>, part: Option<u64>) -> Option<u64> {
    part.filter(|n| Some(*n) <= whole)
}

/// An id for a call of a provider that makes none.
pub(super) fn made_up_id() -> String {
    format!("call_{}", uuid::Uuid::now_v7().simple())
}
