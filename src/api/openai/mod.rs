//! The API that OpenAI's clients speak: models, embeddings, chat completions. What of it is used, ignored or refused is in
//! docs/openai.md.

mod chunks;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod limits;
mod messages;
pub(super) mod models;
mod refusal;
mod request;
mod speech;
