//! Plain text: its words, its sentences, its tokens.
//!
//! Pure functions without settings, shared by everything that reads documents or prompts, so that
//! two features never disagree about what a word or a token is. Light and language-neutral on
//! purpose. Deliberately absent: dictionaries, real morphology and language detection.

pub mod sentences;
pub mod tokens;
pub mod words;

pub use sentences::sentences;
pub use words::{is_stop_word, stem, words};
