//! The PostgreSQL that `docent dev` and the tests look after themselves.
//!
//! [`Cluster::start`] finds (or fetches, once) a PostgreSQL with pgvector, makes the data folder,
//! starts the server on a free port of 127.0.0.1 behind a random password, and guarantees that the
//! server does not outlive this process. [`redis_server`] finds (or fetches) the program for tests that
//! want a Redis. What is deliberately absent: `DATABASE_URL`, schemas and
//! migrations; the caller decides whether this mode is used at all and what lives in the database.

mod account;
mod cluster;
mod error;
mod fetch;
mod folders;
mod home;
mod installation;
mod installer;
mod launch;
mod locate;
mod postmaster;
mod redis;
mod settings;
mod supervisor;
mod throwaway;
mod tool;

pub use cluster::{Cluster, Options};
pub use error::DevError;
pub use installation::Installation;
pub use redis::redis_server;
pub use throwaway::throwaway;
