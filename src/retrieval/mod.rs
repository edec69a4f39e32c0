//! From a question to the passages that may answer it: vector and full-text search over one tenant's
//! chunks, fused by reciprocal rank, packed into a token budget.

mod fusion;
mod index;
mod passage;
mod retriever;
mod snippet;

pub use fusion::fuse;
pub use index::{IndexError, OWN_INDEX_FROM, give_own_index};
pub use passage::Passage;
pub use retriever::{Found, RetrieveError, Retriever};
pub use snippet::best_window;
