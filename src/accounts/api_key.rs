//! What a new API key is to be, checked once.

use super::error::AccountError;
use crate::types::{Ctx, Scope, Scopes};
use chrono::{DateTime, Utc};
use std::num::NonZeroU32;

/// A key that is wished for, by somebody who may have it.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    pub(super) name: String,
    pub(super) scopes: Scopes,
    pub(super) expires_at: Option<DateTime<Utc>>,
    pub(super) requests_per_minute: Option<NonZeroU32>,
    pub(super) tokens_per_minute: Option<NonZeroU32>,
}

impl NewApiKey {
    /// A key for `by` themselves.
    ///
    /// # Errors
    /// `KeysMakeNoKeys` for a program, `BeyondRole` when the role may not do one of the scopes, `Invalid`
    /// for a name that is none or a time that is over.
    pub fn parse(
        by: Ctx,
        name: &str,
        scopes: &[Scope],
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Self, AccountError> {
        if by.key.is_some() {
            return Err(AccountError::KeysMakeNoKeys);
        }
        let name: String = name.chars().filter(|c| !c.is_control()).collect();
        let name = name.trim().to_owned();
        if !(1..=100).contains(&name.chars().count()) {
            return Err(AccountError::Invalid("`name` has 1 to 100 characters".into()));
        }
        if scopes.is_empty() {
            return Err(AccountError::Invalid("`scopes` names at least one scope".into()));
        }
        if let Some(scope) = scopes.iter().find(|scope| !by.scopes().has(**scope)) {
            return Err(AccountError::BeyondRole(*scope));
        }
        if expires_at.is_some_and(|at| at <= Utc::now()) {
            return Err(AccountError::Invalid("`expires_at` is over already".into()));
        }
        let scopes = scopes.iter().copied().collect();
        Ok(Self { name, scopes, expires_at, requests_per_minute: None, tokens_per_minute: None })
    }

    /// Limits of its own, below those of the user.
    #[must_use]
    pub fn limited(mut self, requests: Option<NonZeroU32>, tokens: Option<NonZeroU32>) -> Self {
        (self.requests_per_minute, self.tokens_per_minute) = (requests, tokens);
        self
    }
}
