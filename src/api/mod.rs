//! The edge: HTTP, SSE and WebSocket. actix lives here and nowhere below.
//!
//! `routes` is the whole URL table, `v1` has one file per resource, `openai` and `ai_sdk` are what their clients speak, `stream` knows the wire formats
//! of turns. Every failure leaves as a [`problem::Problem`].

mod ai_sdk;
mod asyncapi;
mod body;
mod health;
mod legacy;
mod observe;
mod openai;
mod openapi;
mod operator;
mod page;
mod principal;
pub mod problem;
mod rates;
mod routes;
mod scopes;
mod state;
mod stream;
mod v1;

pub use asyncapi::document as asyncapi;
pub use openapi::document;
pub use routes::{PUBLIC, configure, table};
pub use state::{State, StateParts};
pub use stream::Patience;

pub(crate) use observe::observe;
pub(crate) use rates::tell_rates;
