//! The wire formats of turns. A client is a cursor and an encoder; nothing is kept per client.

mod bounded;
mod close;
mod frame;
mod patience;
mod serve;
mod socket;
mod sse;
pub(super) mod websocket;

pub(super) use frame::{ClientFrame, ServerFrame};
pub use patience::Patience;
pub(super) use sse::{Cut, HEARTBEAT, Watch, Wire, response as sse_response, wire_response};
pub(super) use websocket::ws_chat;
