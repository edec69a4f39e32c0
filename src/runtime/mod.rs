//! Where work runs: the main runtime, by name, and awaited at shutdown.

mod tasks;

pub use tasks::Tasks;
