//! Tenants' secrets at rest: XChaCha20-Poly1305 under a key derived from the server's secret.
//!
//! What is sealed belongs to one tenant and one thing, such as a provider: moved to another row it does not open. The table
//! alone, a backup for instance, opens nothing.

use crate::types::{Secret, TenantId};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;

const NONCE: usize = 24;

/// Seals and opens.
#[derive(Clone)]
pub struct Vault(XChaCha20Poly1305);

impl Vault {
    /// The same secret makes the same vault on every node.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose().as_bytes())
            .expect("any length is a key");
        mac.update(b"docent provider keys v1");
        Self(XChaCha20Poly1305::new(&mac.finalize().into_bytes()))
    }

    /// `None` only when a key is too long to be one.
    #[must_use]
    pub fn seal(&self, tenant: TenantId, provider: &str, key: &Secret) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE] = rand::random();
        let bound = bound(tenant, provider);
        let payload = Payload { msg: key.expose().as_bytes(), aad: &bound };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    /// `None`: sealed for somebody else, under another secret, or damaged.
    #[must_use]
    pub fn open(&self, tenant: TenantId, provider: &str, sealed: &[u8]) -> Option<Secret> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let bound = bound(tenant, provider);
        let payload = Payload { msg: sealed, aad: &bound };
        let key = self.0.decrypt(&XNonce::from(*nonce), payload).ok()?;
        String::from_utf8(key).ok().map(Secret::new)
    }
}

fn bound(tenant: TenantId, provider: &str) -> Vec<u8> {
    [tenant.uuid().as_bytes().as_slice(), provider.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_vault_and_the_right_owner_open_it() {
        let vault = Vault::new(&Secret::new("a secret of 32 characters and more"));
        let (acme, globex, key) = (TenantId::new(), TenantId::new(), Secret::new("sk-acme-1234"));
        let sealed = vault.seal(acme, "openai", &key).unwrap();
        assert!(!sealed.windows(4).any(|bytes| b"sk-acme-1234".windows(4).any(|key| key == bytes)));
        assert_ne!(vault.seal(acme, "openai", &key).unwrap(), sealed, "a nonce is used once");
        assert_eq!(vault.open(acme, "openai", &sealed), Some(key));
        assert_eq!(vault.open(globex, "openai", &sealed), None);
        assert_eq!(vault.open(acme, "anthropic", &sealed), None);
        let other = Vault::new(&Secret::new("another secret of 32 characters"));
        assert_eq!(other.open(acme, "openai", &sealed), None);
        let mut damaged = sealed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(vault.open(acme, "openai", &damaged), None);
        assert_eq!(vault.open(acme, "openai", &sealed[..20]), None);
    }
}
