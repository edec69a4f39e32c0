//! From a name to an answer: which models a name stands for, and which of them is asked.
//!
//! [`Catalogue`] turns the name that an assistant carries into a [`Route`], an ordered list of
//! [`Candidate`]s. [`Router`] asks them in that order until one has begun to answer. Failover ends there:
//! what a failure after the first event means is the caller's to decide, with [`Route::after_cut`].

mod attempt;
mod catalogue;
mod failover;
mod route;

pub use attempt::{Attempt, Begun, Exhausted, Failure};
pub use catalogue::{Catalogue, RouteError};
pub use failover::Router;
pub use route::{AfterCut, Candidate, Capabilities, Route};
