//! The providers: each speaks its own protocol, all give the same events.
//!
//! A provider is a request in its own words and a decoder of its frames; `link` sends the one and
//! `answer` keeps deadlines and order over the other. What we send is strict; what we accept is
//! lenient: servers leave out fields, report usage early or twice and forget how to end.

mod answer;
mod anthropic;
mod gemini;
mod limits;
mod link;
mod openai;
mod said;
mod signature;
mod version;

#[cfg(test)]
mod tests;

pub use anthropic::Anthropic;
pub use gemini::Gemini;
pub use link::Deadlines;
pub use openai::OpenAi;
