//! Tenants and people: who may come in, and the proofs they get.

mod directory;
mod email;
mod error;
mod login;
mod provision;
mod session;
mod ticket;

pub use directory::Directory;
pub use email::Email;
pub use error::AccountError;
pub use login::{Login, LoginParts, SentCode};
pub use provision::{NewTenant, add_user, create_tenant};
pub use session::{Session, Sessions};
pub use ticket::Tickets;
