//! The wire formats of turns. A client is a cursor and an encoder; nothing is kept per client.

mod close;
mod frame;
mod socket;
mod sse;
pub(super) mod websocket;

pub(super) use sse::response as sse_response;
pub(super) use websocket::ws_chat;
