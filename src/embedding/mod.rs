//! Texts to vectors: one trait, a built-in embedder and a client of OpenAI's endpoint; all models of this
//! server by their rows, and the questions that were embedded lately.
//!
//! Every vector of an embedder has the same length, and every batch comes back whole and in
//! order, or not at all. Deliberately absent: how a tenant is moved from one model to another.

mod embedder;
mod hashed;
mod openai;
mod questions;
mod space;
mod spaces;

pub use embedder::{EmbedError, Embedded, Embedder};
pub use hashed::Hashed;
pub use openai::{Limits, OpenAiEmbedder, OpenAiModel, Places};
pub use questions::Questions;
pub use space::Space;
pub use spaces::Spaces;
