//! The wire to other people's servers: one HTTP client, server-sent events, and how to fail politely.
//!
//! Everything here treats the other side as unreliable and possibly hostile: bytes are capped,
//! silences have deadlines, error bodies are cut short and stripped of our key before anyone logs
//! them. No provider's JSON beyond the common error envelope is known here, and no retry loop
//! lives here: callers own theirs, with [`Backoff`] for the pauses.

mod backoff;
mod client;
mod egress;
mod refusal;
mod sse;

#[cfg(test)]
pub(crate) mod script;

pub use backoff::{Backoff, retry_after};
pub use client::{ClientError, ClientOptions, Clients, client, client_builder, describe};
pub use egress::{Egress, EgressError, Incoming, Outgoing, place};
pub use refusal::{Complaint, Refusal};
pub use sse::{Event, EventStream, IdleLimit, MAX_EVENT_BYTES, SseError, events};
