//! From a name to an answer: which models a name stands for, and which of them is asked.
//!
//! [`Catalogue`] turns the name that an assistant carries into a [`Route`], an ordered list of
//! [`Candidate`]s. [`Router`] asks them in that order until one has begun to answer. Failover ends there:
//! what a failure after the first event means is the caller's to decide, with [`Route::after_cut`].

mod attempt;
mod blame;
mod book;
mod breaker;
mod breakers;
mod catalogue;
mod failover;
mod list;
mod providers;
mod route;
mod vault;
mod verdict;
mod watched;

pub use attempt::{Attempt, Begun, Exhausted, Failure};
pub use breakers::BreakerReport;
pub use catalogue::{Catalogue, Listed, RouteError};
pub use failover::Router;
pub use list::{CatalogueError, LIST, ModelEntry, RouteEntry, load_models};
pub use route::{AfterCut, Candidate, Capabilities, Route};
pub use vault::Vault;
