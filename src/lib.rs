//! docent: a real-time, multi-tenant chat server that answers from a tenant's own documents.
//!
//! The folders are the floors of one house; a module imports only from lower floors or its own
//! folder (`tests/it/architecture.rs` holds the code to it). From the top: `app`, `dev`, `cli`
//! compose; `api`, `worker` are the edges; `accounts`, `chat`, `documents`, `vectors` are what the product
//! does; `auth`, `limiter`, `metering`, `export`, `llm`, `embedding`, `retrieval`, `jobs`, `guard` are
//! capabilities; `store`, `net`, `mail` reach the outside; `config`, `telemetry`, `runtime`, `types`, `text` are ground.

pub mod accounts;
pub mod api;
pub mod app;
pub mod auth;
pub mod chat;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod dev;
pub mod documents;
pub mod embedding;
pub mod export;
pub mod guard;
pub mod jobs;
pub mod limiter;
pub mod llm;
pub mod mail;
pub mod metering;
pub mod net;
pub mod retrieval;
pub mod runtime;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod tools;
pub mod types;
pub mod vectors;
pub mod worker;
