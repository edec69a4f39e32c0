//! Why the server did not start.

use crate::accounts::AccountError;
use crate::auth::JwtError;
use crate::cluster::ClusterError;
use crate::dev::DevError;
use crate::mail::MailError;
use crate::net::ClientError;
use crate::store::{DbError, MigrateError};
use thiserror::Error;

/// Each is a sentence for whoever started it.
#[derive(Debug, Error)]
pub enum AppError {
    #[error("{0}")]
    Dev(#[from] DevError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("DOCENT_SECRET cannot be used: {0}")]
    Secret(#[from] JwtError),
    #[error("mail is not set up right: {0}")]
    Mail(#[from] MailError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot listen on {address}: {error}")]
    Listen { address: String, error: std::io::Error },
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
}

impl From<diesel::result::Error> for AppError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}
