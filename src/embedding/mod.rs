//! Texts to vectors: one trait, a built-in embedder and a client of OpenAI's endpoint.
//!
//! Every vector of an embedder has the same length, and every batch comes back whole and in
//! order, or not at all. Deliberately absent: a cache, storage, and which embedder a collection uses.

mod embedder;
mod hashed;
mod openai;

pub use embedder::{EmbedError, Embedded, Embedder};
pub use hashed::Hashed;
pub use openai::{OpenAiEmbedder, OpenAiModel};
