//! Any server that speaks OpenAI's embeddings endpoint.

mod batch;
mod client;
mod places;
mod response;

#[cfg(test)]
mod tests;

pub use batch::Limits;
pub use client::{OpenAiEmbedder, OpenAiModel};
pub use places::Places;
