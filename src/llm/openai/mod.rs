//! Any server that speaks OpenAI's chat completions: OpenAI itself, vLLM, Ollama, a gateway.
//!
//! What we send is strict (`request`), what we accept is lenient (`chunk`): compatible servers
//! leave out fields, send usage early or twice, forget `[DONE]`. Deliberately absent: tools,
//! several choices, anything that is not text.

mod answer;
mod chunk;
mod client;
mod request;

#[cfg(test)]
mod tests;

pub use client::{Deadlines, OpenAi};
