//! The built-in model: answers from the passages of a prompt without any provider or key.
//!
//! It quotes what fits the question best and says that it is a demo; it cannot invent, because
//! every sentence of substance is copied from a passage. Deliberately absent: any understanding.

mod answer;
mod model;
mod passage;
mod rank;

pub use model::Demo;
