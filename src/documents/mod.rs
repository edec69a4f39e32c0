//! A tenant's documents: uploaded, ingested, read, deleted; moved to another embedding model.
//!
//! An upload is stored with its job in one transaction; ingestion ends in another that holds pages,
//! chunks, vectors, bill and status together, so a crash at any instruction leaves either nothing or
//! everything of it.

mod catalogue;
mod chunker;
pub mod extract;
mod ingest;
mod mover;
mod moves;
mod progress;
mod upload;

pub use catalogue::{Catalogue, Deletion, Filing, PageText};
pub use chunker::{Chunk, ChunkOptions, chunk};
pub use ingest::{Ingestor, Outcome};
pub use mover::Mover;
pub use moves::{MoveError, Moved, cancel_move, find_model, move_status, start_move};
pub use progress::Progress;
pub use upload::{MAX_BYTES, UploadError, Uploaded, Uploads};
