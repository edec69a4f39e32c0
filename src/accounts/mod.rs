//! Tenants and people: who may come in, and the proofs they get.

mod api_key;
mod api_keys;
mod directory;
mod email;
mod error;
mod known_keys;
mod login;
mod provision;
mod session;
mod ticket;

pub use api_key::NewApiKey;
pub use api_keys::{ApiKeys, FreshApiKey};
pub use directory::Directory;
pub use email::Email;
pub use error::AccountError;
pub use known_keys::KnownKeys;
pub use login::{Login, LoginParts, SentCode};
pub use provision::{NewTenant, add_user, create_tenant};
pub use session::{Session, Sessions};
pub use ticket::Tickets;
