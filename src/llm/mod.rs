//! Language models: one trait, three protocols that most providers speak, and a model without a key.
//!
//! A model takes messages and gives a stream of events; it knows no tenant, no quota, no document
//! store and no log of turns. It is asked once; whoever holds the stream decides what a failure means.

mod demo;
mod error;
mod event;
mod message;
mod model;
mod providers;
mod request;
pub mod router;
pub mod tokens;

pub use demo::Demo;
pub use error::{LlmError, Wait};
pub use event::{ChatEvent, FinishReason, TokenUsage};
pub use message::{ChatMessage, Content, Image, Role, ToolCall, ToolResult};
pub use model::{Answering, ChatModel, ChatStream, Headroom, Left};
pub use providers::{Anthropic, Deadlines, Gemini, OpenAi};
pub use request::{ChatRequest, Effort, Format, Sampling, Tool, ToolChoice};
