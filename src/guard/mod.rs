//! What a tenant keeps out of questions and answers: filters by regular expression; and what a provider thinks
//! of a question, where the operator wants to know it ([`Moderator`]).
//!
//! A question is looked at whole, before anything costs anything. An answer is looked at while it streams: of
//! it only that is held back which may still become a match ([`Screen`]). An answer without filters has no
//! screen, and passes untouched.

mod definition;
mod known;
mod moderation;
mod pattern;
mod rules;
mod screen;
mod sieve;

pub use definition::{Action, Definition, Stage};
pub use known::Guard;
pub use moderation::{Moderator, Verdict};
pub use pattern::WINDOW;
pub use rules::{Blocked, Rules};
pub use screen::Screen;
