//! What background jobs do: loops that claim work and hand it to the features.

mod export;
mod ingest;
mod janitor;
mod moves;
mod sealer;

pub use export::run_exporter;
pub use ingest::run_ingestion;
pub use janitor::{Janitor, run_janitor};
pub use moves::run_moves;
pub use sealer::{Sealer, run_sealer};
