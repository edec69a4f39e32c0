//! Anthropic's Messages.
//!
//! Deliberately absent: tools that Anthropic runs itself, documents, citations.

mod client;
mod decoder;
mod messages;
mod request;
mod schema;
mod thinking;

#[cfg(test)]
pub(super) mod tests;

pub use client::Anthropic;
#[cfg(test)]
pub(super) use decoder::Decoder;

/// Whose signatures ours are.
const OWNER: &str = "anthropic";
/// Thoughts that we may keep but not read.
const REDACTED: &str = "anthropic-redacted";
