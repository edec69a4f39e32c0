//! Google's Gemini.
//!
//! Deliberately absent: tools that Google runs itself, files, several candidates.

mod client;
mod contents;
mod decoder;
mod request;

#[cfg(test)]
pub(super) mod tests;

pub use client::Gemini;
#[cfg(test)]
pub(super) use decoder::Decoder;

/// Whose signatures ours are.
const OWNER: &str = "gemini";
