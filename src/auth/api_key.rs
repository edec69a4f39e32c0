//! API keys as text: `dk_<base64url of tenant, id, 32 random bytes and a checksum>`, 94 characters.
//!
//! The prefix and the checksum are for scanners of leaked secrets, and a mistyped key is known without
//! asking the database. The checksum keeps nothing secret: SHA-256 of the random part is what is stored.

use super::opaque::{OpaqueError, OpaqueToken};
use crate::types::TenantId;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

const PREFIX: &str = "dk_";
const HINT: usize = 4;

/// A key in the open.
pub struct ApiKeyToken(OpaqueToken);

impl ApiKeyToken {
    /// A fresh key.
    #[must_use]
    pub fn generate(tenant: TenantId) -> Self {
        Self(OpaqueToken::generate(tenant))
    }

    /// The same key with another secret.
    #[must_use]
    pub fn rotated(tenant: TenantId, id: uuid::Uuid) -> Self {
        Self(OpaqueToken::again(tenant, id))
    }

    /// True of what can only be meant to be a key.
    #[must_use]
    pub fn looks_like_one(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When it is something else, or was mistyped.
    pub fn parse(text: &str) -> Result<OpaqueToken, OpaqueError> {
        let body = text.strip_prefix(PREFIX).ok_or(OpaqueError)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_why| OpaqueError)?;
        let (token, sum) = bytes.split_last_chunk::<4>().ok_or(OpaqueError)?;
        if checksum(token) != *sum {
            return Err(OpaqueError);
        }
        OpaqueToken::from_bytes(token)
    }

    /// The text, for the one time that it is shown.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = self.0.to_bytes();
        bytes.extend_from_slice(&checksum(&bytes));
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What tells keys apart in a list: the last characters, which are checksum.
    #[must_use]
    pub fn hint(&self) -> String {
        let text = self.reveal();
        text.chars().skip(text.len() - HINT).collect()
    }

    /// What the database knows it by.
    #[must_use]
    pub fn token(&self) -> &OpaqueToken {
        &self.0
    }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let digest: [u8; 32] =
        Sha256::new().chain_update("docent api key v1").chain_update(bytes).finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_the_round_trip_and_a_mistyped_one_does_not() {
        let key = ApiKeyToken::generate(TenantId::new());
        let text = key.reveal();
        assert!(text.len() == 94 && text.ends_with(&key.hint()));
        let back = ApiKeyToken::parse(&text).unwrap();
        assert!(back.matches(&key.token().hash()) && back.id == key.token().id);
        let other = |c: char| if c == 'x' { 'y' } else { 'x' };
        let mistyped: String =
            text.char_indices().map(|(i, c)| if i == 40 { other(c) } else { c }).collect();
        let short: String = text.chars().take(93).collect();
        for bad in ["", "dk_", "dk_AAAA", &mistyped, &short, &text.replace("dk_", "rt_")] {
            assert_eq!(ApiKeyToken::parse(bad).err(), Some(OpaqueError), "{bad}");
        }
        let rotated = ApiKeyToken::rotated(back.tenant, back.id);
        assert!(!rotated.token().matches(&key.token().hash()) && rotated.token().id == back.id);
    }
}
