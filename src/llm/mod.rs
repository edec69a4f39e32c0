//! Language models: one trait, an OpenAI-compatible client and a model that needs no key.
//!
//! A model takes messages and gives a stream of events; it knows no tenant, no quota, no document
//! store and no log of turns. Retries happen here and only before a stream exists; whoever holds
//! the stream decides what a failure after that means.

mod demo;
mod error;
mod event;
mod message;
mod model;
mod openai;
mod request;
pub mod router;
pub mod tokens;

pub use demo::Demo;
pub use error::{LlmError, Wait};
pub use event::{ChatEvent, FinishReason, TokenUsage};
pub use message::{ChatMessage, Content, Image, Role, ToolCall, ToolResult};
pub use model::{Answering, ChatModel, ChatStream, Headroom, Left};
pub use openai::{Deadlines, OpenAi};
pub use request::{ChatRequest, Effort, Format, Sampling, Tool, ToolChoice};
