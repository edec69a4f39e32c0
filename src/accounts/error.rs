//! Why somebody does not come in.

use crate::auth::JwtError;
use crate::store::DbError;
use crate::types::Scope;
use std::time::Duration;
use thiserror::Error;

/// One enum for the folder: each variant is one answer to the client.
#[derive(Debug, Error)]
pub enum AccountError {
    #[error("'{0}' is not an e-mail address")]
    NotAnEmail(String),
    #[error("there is no tenant '{0}'")]
    NoTenant(String),
    /// Wrong, expired, used up, unknown address: one answer for all.
    #[error("the code is wrong or no longer valid: ask for a new one")]
    WrongCode,
    /// Used, expired, revoked, invented: one answer for all.
    #[error("the refresh token is no longer valid: log in again")]
    WrongRefreshToken,
    #[error("the ticket is no longer valid: get a new one")]
    WrongTicket,
    /// Mistyped, revoked, expired, invented: one answer for all.
    #[error("the API key is not valid (any more)")]
    WrongKey,
    #[error("there is no such API key")]
    NoKey,
    #[error("only the person a key acts as rotates it, and only owners and admins see all keys")]
    NotYours,
    #[error("keys are made by people: log in to make one")]
    KeysMakeNoKeys,
    #[error("your role may not do what the scope `{}` is for", .0.as_str())]
    BeyondRole(Scope),
    #[error("too many codes were asked for this address")]
    TooMany(Duration),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Jwt(#[from] JwtError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<diesel::result::Error> for AccountError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}
