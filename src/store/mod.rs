//! PostgreSQL: one file per table with its row, insert struct and queries, which take a connection
//! and return `QueryResult` so that any of them joins a transaction.
//!
//! [`Db`] hands out transactions, never bare connections: [`Db::tenant`] sees one tenant's rows,
//! [`Db::system`] what background work needs across tenants, [`Db::ledger`] the whole ledger. All have
//! left the login role behind.

mod db;
mod migrate;
#[expect(unreachable_pub, reason = "generated")]
mod schema;
mod sql;
mod tx;
mod vector;

pub mod allowances;
pub mod api_keys;
pub mod approvals;
pub mod assistant_drafts;
pub mod assistant_versions;
pub mod assistants;
pub mod billing;
pub mod blobs;
pub mod chunks;
pub mod citations;
pub mod collections;
pub mod conversations;
pub mod daily;
pub mod documents;
pub mod embedding_models;
pub mod embeddings;
pub mod entries;
pub mod exported;
pub mod exports;
pub mod filters;
pub mod jobs;
pub mod ledger;
pub mod ledger_checks;
pub mod ledger_months;
pub mod ledger_state;
pub mod login_codes;
pub mod messages;
pub mod models;
pub mod nodes;
pub mod operator;
pub mod operator_log;
pub mod pages;
pub mod plans;
pub mod prices;
pub mod provider_keys;
pub mod providers;
pub mod quota_alerts;
pub mod quotas;
pub mod refresh_tokens;
pub mod reservations;
pub mod routes;
pub mod seals;
pub mod segments;
pub mod summaries;
pub mod tenant_embeddings;
pub mod tenant_tools;
pub mod tenants;
pub mod turns;
pub mod usage;
pub mod users;
pub mod ws_tickets;

pub use db::{Db, DbError, DbOptions};
pub use migrate::{MigrateError, migrate, pending, revert_all};
pub use tx::Tx;
pub use vector::HalfVec;

/// The connection every query function takes.
pub type Conn = diesel_async::AsyncPgConnection;
