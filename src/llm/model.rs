//! What a chat model is: messages in, a stream of events out.
//!
//! A stream gives any number of `Text`, then exactly one `Finished`, then at most one `Usage`, or
//! ends at any point with one error, which is last. Dropping it stops the model.

use std::pin::Pin;

use futures_util::{Stream, future::BoxFuture};

use super::LlmError;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator's instructions.
    System,
    /// The person who asks.
    User,
    /// The model's earlier answers.
    Assistant,
}

/// One message of a prompt.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said: plain text, possibly Markdown.
    pub content: String,
}

impl ChatMessage {
    /// A message of `role`.
    #[must_use]
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

impl std::fmt::Debug for ChatMessage {
    /// Shows the length and not the words: prompts do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ChatMessage({:?}, {} bytes)", self.role, self.content.len())
    }
}

/// One question to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRequest {
    /// The model's name as its provider knows it.
    pub model: String,
    /// The prompt in order; the last message is normally the user's.
    pub messages: Vec<ChatMessage>,
    /// The answer's most tokens, reasoning included where the provider counts it.
    pub max_output_tokens: u32,
}

/// Tokens as the provider counted them. Absent means unknown, never zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Of the prompt, what was cached included.
    pub input: Option<u64>,
    /// The part of `input` that the provider had in its cache.
    pub cached: Option<u64>,
    /// Of the answer, reasoning included.
    pub output: Option<u64>,
    /// The part of `output` that was thought and not shown.
    pub reasoning: Option<u64>,
}

/// Why an answer ended in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model was done.
    Stop,
    /// The answer reached `max_output_tokens` or the window's end.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// Something else, such as a tool call that nobody asked for.
    Other,
}

/// One step of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatEvent {
    /// More of the answer; never empty.
    Text(String),
    /// The answer is complete.
    Finished(FinishReason),
    /// What it cost, as far as the provider said.
    Usage(TokenUsage),
}

/// An answer under way.
pub type ChatStream = Pin<Box<dyn Stream<Item = Result<ChatEvent, LlmError>> + Send>>;

/// Something that answers.
pub trait ChatModel: Send + Sync {
    /// A short name for logs and metrics, such as `openai`.
    fn provider(&self) -> &'static str;

    /// Asks. Resolves when the provider has begun to answer; what the answer then does, including
    /// failing, is in the stream.
    fn stream(&self, request: ChatRequest) -> BoxFuture<'_, Result<ChatStream, LlmError>>;
}
