//! Durable background work: rows in PostgreSQL, owned by lease. What a job does is `worker`'s.

mod queue;

pub use queue::{LEASE_SECONDS, Queue};
