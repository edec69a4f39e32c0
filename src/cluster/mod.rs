//! What several nodes share through Redis: copies of turn logs, commands to a node, events for a
//! user's sockets, counted connections, rates.
//!
//! Nothing here is the truth: turns, bills and log-ins live in PostgreSQL, and every caller goes on
//! when Redis is away. Without `REDIS_URL` a cluster is one node and all of this does nothing.
//! Deliberately absent: locks and leader election.

mod error;
mod node;
mod rates;
mod redis;
mod seats;
mod stream;
mod tail;

pub use error::ClusterError;
pub use node::{Cluster, Status};
pub use rates::{Cell, Taken};
pub use seats::Seat;
pub use stream::{Run, Writer, end_of};
pub use tail::{Listener, Next};
