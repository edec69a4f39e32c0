//! Six-digit login codes.

use super::keys::{Keys, mac};
use crate::types::TenantId;
use rand::RngExt;
use subtle::ConstantTimeEq;

/// A code, bound to a tenant and an address by its hash.
pub struct LoginCode(String);

impl LoginCode {
    /// A fresh one, every value as likely as any other.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!("{:06}", rand::rng().random_range(0..1_000_000)))
    }

    /// What a person typed: spaces and a dash in the middle are forgiven.
    #[must_use]
    pub fn typed(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        (digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(Self(digits))
    }

    /// The digits, to be sent.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// What the database keeps.
    #[must_use]
    pub fn hash(&self, keys: &Keys, tenant: TenantId, email: &str) -> Vec<u8> {
        let tenant = tenant.uuid();
        mac(&keys.code_pepper, &[tenant.as_bytes(), email.as_bytes(), self.0.as_bytes()]).to_vec()
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, keys: &Keys, tenant: TenantId, email: &str, stored: &[u8]) -> bool {
        self.hash(keys, tenant, email).ct_eq(stored).into()
    }
}
