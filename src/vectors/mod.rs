//! Texts to vectors for programs: admitted, embedded and billed, and nothing of them is kept.
//!
//! No vectors leave that were not billed, and a caller who leaves changes no bill.

mod service;

pub use service::{EmbedRefused, Vectorised, Vectors};
