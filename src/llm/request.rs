//! What a model is asked.

use super::ChatMessage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One question to a model. What a provider does not know is left out of what it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The model's name as its provider knows it.
    pub model: String,
    /// The prompt in order; system messages first, what stays the same from turn to turn before what
    /// does not: providers cache the beginning.
    pub messages: Vec<ChatMessage>,
    /// The answer's most tokens, reasoning included where the provider counts it.
    pub max_output_tokens: u32,
    pub sampling: Sampling,
    pub tools: Vec<Tool>,
    pub tool_choice: ToolChoice,
    pub format: Format,
    /// How much the model thinks before it answers; `None`: as it likes.
    pub effort: Option<Effort>,
    /// The same for prompts that begin alike: helps a provider to find its cache.
    pub cache_key: Option<String>,
}

impl ChatRequest {
    /// A question without any wishes.
    #[must_use]
    pub fn new(
        model: impl Into<String>,
        messages: Vec<ChatMessage>,
        max_output_tokens: u32,
    ) -> Self {
        Self {
            model: model.into(),
            messages,
            max_output_tokens,
            sampling: Sampling::default(),
            tools: Vec::new(),
            tool_choice: ToolChoice::default(),
            format: Format::default(),
            effort: None,
            cache_key: None,
        }
    }
}

/// How the next token is picked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// 0 to 2.
    pub temperature: Option<f32>,
    /// Above 0, at most 1.
    pub top_p: Option<f32>,
    /// Texts that end the answer and are not part of it.
    pub stop: Vec<String>,
    pub seed: Option<i64>,
    pub frequency_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Letters, digits, `_` and `-`, at most 64.
    pub name: String,
    pub description: String,
    /// A JSON schema of an object.
    pub parameters: Value,
    /// The provider makes sure that the arguments follow the schema.
    pub strict: bool,
}

/// Whether tools are called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    Never,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// What the answer looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Text,
    /// Any JSON object.
    Json,
    /// JSON of this schema.
    Schema { name: String, schema: Value, strict: bool },
}

/// How much a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    Low,
    Medium,
    High,
}
