//! Language models: one trait, an OpenAI-compatible client and a model that needs no key.
//!
//! A model takes messages and gives a stream of events; it knows no tenant, no quota, no document
//! store and no log of turns. Retries happen here and only before a stream exists; whoever holds
//! the stream decides what a failure after that means.

mod demo;
mod error;
mod model;
mod openai;
pub mod tokens;

pub use demo::Demo;
pub use error::{LlmError, Wait};
pub use model::{
    ChatEvent, ChatMessage, ChatModel, ChatRequest, ChatStream, FinishReason, Role, TokenUsage,
};
pub use openai::{Deadlines, OpenAi};
