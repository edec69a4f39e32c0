//! What is said: messages of one or more pieces, whoever the provider is.

use bytes::Bytes;
use serde_json::Value;
use std::fmt;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator's instructions.
    System,
    /// The person who asks.
    User,
    /// The model's earlier answers.
    Assistant,
    /// What tools gave back.
    Tool,
}

/// A picture, as it was uploaded.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Such as `image/png`.
    pub media_type: String,
    pub bytes: Bytes,
}

/// A tool that the model wants called.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Of this call, made by the provider, or by us where it makes none.
    pub id: String,
    pub name: String,
    /// JSON, as the model wrote it: possibly none at all.
    pub arguments: String,
    /// Opaque: what the provider wants back with the call.
    pub signature: Option<String>,
}

/// What a call gave.
#[derive(Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// Of the [`ToolCall`].
    pub id: String,
    pub name: String,
    /// What the model is to read: JSON or plain text.
    pub output: String,
    pub failed: bool,
}

/// A piece of a message.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Plain text, possibly Markdown.
    Text(String),
    /// Of the user.
    Image(Image),
    /// What the assistant thought; providers that signed it want it back unchanged.
    Reasoning { text: String, signature: Option<String> },
    /// Of the assistant.
    ToolCall(ToolCall),
    /// Of a tool.
    ToolResult(ToolResult),
}

/// One message of a prompt.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    pub role: Role,
    /// In order.
    pub content: Vec<Content>,
}

impl ChatMessage {
    /// A message of text.
    #[must_use]
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: vec![Content::Text(text.into())] }
    }

    /// Its texts, joined.
    #[must_use]
    pub fn text(&self) -> String {
        let text = |content: &Content| match content {
            Content::Text(text) => Some(text.clone()),
            _ => None,
        };
        self.content.iter().filter_map(text).collect()
    }
}

impl ToolCall {
    /// The arguments as JSON; `None` when the model wrote something else. No arguments are `{}`.
    #[must_use]
    pub fn input(&self) -> Option<Value> {
        match self.arguments.trim() {
            "" => Some(Value::Object(serde_json::Map::new())),
            text => serde_json::from_str(text).ok().filter(Value::is_object),
        }
    }
}

/// Sizes and names, never words: prompts do not belong in logs.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Image(image) => image.fmt(f),
            Self::Reasoning { text, .. } => write!(f, "Reasoning({} bytes)", text.len()),
            Self::ToolCall(call) => call.fmt(f),
            Self::ToolResult(result) => result.fmt(f),
        }
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}, {} bytes)", self.media_type, self.bytes.len())
    }
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCall({}, {} bytes)", self.name, self.arguments.len())
    }
}

impl fmt::Debug for ToolResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolResult({}, {} bytes)", self.name, self.output.len())
    }
}

impl fmt::Debug for ChatMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChatMessage({:?}, {:?})", self.role, self.content)
    }
}
