//! Any server that speaks OpenAI's embeddings endpoint.

mod batch;
mod client;
mod response;

#[cfg(test)]
mod tests;

pub use client::{OpenAiEmbedder, OpenAiModel};
