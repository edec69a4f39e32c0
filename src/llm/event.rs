//! What a model says, piece by piece.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// More of the answer; never empty.
    Text(String),
    /// More of what the model thinks, where the provider shows it, and the signature with which the
    /// provider wants it back; one of them may be missing.
    Reasoning { text: String, signature: Option<String> },
    /// A tool is to be called; its arguments follow. `index` counts the calls of this answer.
    ToolBegin { index: u32, id: String, name: String, signature: Option<String> },
    /// More of a call's arguments: a stretch of JSON text.
    ToolInput { index: u32, json: String },
    /// The answer is complete.
    Finished(FinishReason),
    /// What it cost so far, as far as the provider said: a later one replaces what it names.
    Usage(TokenUsage),
}

/// Why an answer ended in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The answer reached `max_output_tokens` or the window's end.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// The model waits for the results of the calls it made.
    ToolCalls,
    Other,
}

/// Tokens as the provider counted them. Absent means unknown, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenUsage {
    /// Of the prompt, what was cached included.
    pub input: Option<u64>,
    /// The part of `input` that the provider had in its cache.
    pub cached: Option<u64>,
    /// The part of `input` that the provider put into its cache.
    pub cache_written: Option<u64>,
    /// Of the answer, reasoning included.
    pub output: Option<u64>,
    /// The part of `output` that was thought and not shown.
    pub reasoning: Option<u64>,
}

impl TokenUsage {
    /// What is known now that `later` was said.
    #[must_use]
    pub fn updated(self, later: Self) -> Self {
        Self {
            input: later.input.or(self.input),
            cached: later.cached.or(self.cached),
            cache_written: later.cache_written.or(self.cache_written),
            output: later.output.or(self.output),
            reasoning: later.reasoning.or(self.reasoning),
        }
    }
}
