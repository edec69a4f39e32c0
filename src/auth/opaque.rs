//! Opaque tokens: `<prefix>_<base64url of tenant, id and 32 random bytes>`.
//!
//! The tenant is in the token so that looking it up is a tenant's own work, under row security. The
//! database holds only a hash of the random part.

use crate::types::TenantId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use uuid::Uuid;

/// The text is not a token of this kind.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("not a token of this kind")]
pub struct OpaqueError;

/// A refresh token or a ticket.
pub struct OpaqueToken {
    pub tenant: TenantId,
    pub id: Uuid,
    secret: [u8; 32],
}

impl OpaqueToken {
    /// A fresh token.
    #[must_use]
    pub fn generate(tenant: TenantId) -> Self {
        Self { tenant, id: Uuid::now_v7(), secret: rand::random() }
    }

    /// A fresh one in place of another, with its id.
    pub(super) fn again(tenant: TenantId, id: Uuid) -> Self {
        Self { id, ..Self::generate(tenant) }
    }

    /// Reads a token with `prefix`.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(prefix: &str, text: &str) -> Result<Self, OpaqueError> {
        let body = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
        let bytes = URL_SAFE_NO_PAD.decode(body.ok_or(OpaqueError)?).map_err(|_why| OpaqueError)?;
        Self::from_bytes(&bytes)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, OpaqueError> {
        let (tenant, rest) = bytes.split_first_chunk::<16>().ok_or(OpaqueError)?;
        let (id, rest) = rest.split_first_chunk::<16>().ok_or(OpaqueError)?;
        let secret = rest.try_into().map_err(|_why| OpaqueError)?;
        let tenant = TenantId::from(Uuid::from_bytes(*tenant));
        Ok(Self { tenant, id: Uuid::from_bytes(*id), secret })
    }

    /// The text the client keeps.
    #[must_use]
    pub fn reveal(&self, prefix: &str) -> String {
        format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(self.to_bytes()))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [self.tenant.uuid().as_bytes(), self.id.as_bytes(), self.secret.as_slice()].concat()
    }

    /// What the database keeps.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.secret).to_vec()
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, stored: &[u8]) -> bool {
        self.hash().ct_eq(stored).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_round_trip_and_nothing_else_is_one() {
        let token = OpaqueToken::generate(TenantId::new());
        let text = token.reveal("rt");
        let back = OpaqueToken::parse("rt", &text).unwrap();
        assert!(back.matches(&token.hash()) && back.id == token.id && back.tenant == token.tenant);
        for bad in ["", "rt_", "rt_AAAA", &text.replace("rt_", "wt_"), &format!("{text}AAAA")] {
            assert_eq!(OpaqueToken::parse("rt", bad).err(), Some(OpaqueError), "{bad}");
        }
    }
}
