//! One secret in the settings, one key per purpose derived from it.

use crate::types::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Derived keys; never printed.
#[derive(Clone)]
pub struct Keys {
    /// Seed of the Ed25519 key that signs access tokens.
    pub(super) signing_seed: [u8; 32],
    /// Keys the hashes of login codes: six digits alone could be tried out from a stolen table.
    pub(super) code_pepper: [u8; 32],
}

impl Keys {
    /// Derives the keys; the same secret gives the same keys on every node.
    #[must_use]
    pub fn derive(secret: &Secret) -> Self {
        let secret = secret.expose().as_bytes();
        Self {
            signing_seed: mac(secret, &[b"docent access-token signing v1"]),
            code_pepper: mac(secret, &[b"docent login-code pepper v1"]),
        }
    }
}

/// HMAC-SHA-256 over `parts`, each preceded by its length so that no two lists collide.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length is a key");
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
