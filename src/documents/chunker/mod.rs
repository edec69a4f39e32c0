//! Pages into chunks: the pieces that are embedded, found and cited.
//!
//! Invariants: no chunk exceeds its target of tokens; every word of the pages is in a chunk, in
//! order; the page span of a chunk is exactly where its text lies (the repeated heading line
//! aside). Pure and deterministic: the same pages give the same chunks. Deliberately absent:
//! extraction of text, and any meaning beyond headings, lines and sentences.

mod outline;
mod pack;
mod unit;

#[cfg(test)]
mod tests;

pub use pack::{Chunk, ChunkOptions, chunk};
