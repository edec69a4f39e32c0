//! What docent promises, told by its users: real PostgreSQL, real HTTP and WebSockets, and a
//! scripted language model that speaks its provider's wire format over HTTP.

#![expect(unreachable_pub, reason = "a test binary has no outside")]

mod support;

mod browser;
mod chat;
