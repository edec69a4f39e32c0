//! The API that OpenAI's clients speak: models, embeddings. What of it is used, ignored or refused is in
//! docs/openai.md.

pub(super) mod embeddings;
pub(super) mod limits;
pub(super) mod models;
mod refusal;
