//! Any server that speaks OpenAI's chat completions: OpenAI itself, Azure, Mistral, Groq, vLLM, Ollama,
//! llama.cpp, a gateway.
//!
//! What differs between them follows from the base URL (`dialect`). Deliberately absent: several
//! choices, sound, OpenAI's other protocols.

mod calls;
mod chunk;
mod client;
mod decoder;
mod dialect;
mod messages;
mod request;

#[cfg(test)]
pub(super) mod tests;

pub use client::OpenAi;
#[cfg(test)]
pub(super) use decoder::Decoder;
