//! The older API, kept for its clients (docs/legacy.md): a question with the whole conversation in the body.

pub(super) mod chat;
mod stream;
