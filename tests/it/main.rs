//! What docent promises, told by its users: real PostgreSQL, real HTTP and WebSockets, and a
//! scripted language model that speaks its provider's wire format over HTTP.

#![expect(unreachable_pub, reason = "a test binary has no outside")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails"
)]

mod support;

mod ai_sdk;
mod api_keys;
mod architecture;
mod assistants;
mod asyncapi;
mod branches;
mod browser;
mod chaos;
mod chat;
mod cli;
mod clients;
mod conformance;
mod conversations;
mod documents;
mod embeddings;
mod exports;
mod extract;
mod failover;
mod faults;
mod feed;
mod full_text;
mod gate;
mod guardrails;
mod hostile_pdf;
mod idempotency;
mod isolation;
mod ledger;
mod limits;
mod login;
mod metering_properties;
mod models;
mod nodes;
mod openai;
mod outages;
mod prompt;
mod providers;
mod recovery;
mod redis;
mod resume;
mod retention;
mod retrieval;
mod rolling;
mod secrets;
mod sessions;
mod shutdown;
mod slow_readers;
mod steps;
mod tools;
mod uploads;
mod usage;
mod websocket;
