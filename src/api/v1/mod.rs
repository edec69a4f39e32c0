//! The resources of the API, one file each.

pub(super) mod approvals;
pub(super) mod assistant_edits;
pub(super) mod assistant_versions;
pub(super) mod assistants;
pub(super) mod attempts;
pub(super) mod auth;
pub(super) mod billing;
pub(super) mod chat;
pub(super) mod collections;
pub(super) mod conversations;
pub(super) mod estimate;
pub(super) mod files;
pub(super) mod filters;
pub(super) mod keys;
pub(super) mod messages;
pub(super) mod models;
pub(super) mod operator;
pub(super) mod paging;
pub(super) mod quota;
pub(super) mod receipt;
pub(super) mod server;
pub(super) mod tenant_embeddings;
pub(super) mod tenant_models;
pub(super) mod tickets;
pub(super) mod tools;
pub(super) mod turns;
pub(super) mod upload;
pub(super) mod usage;
pub(super) mod usage_csv;

pub(super) use chat::idempotency_key;
pub(super) use turns::resume_from;
