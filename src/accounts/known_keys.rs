//! Who a key is. What the database said is believed for a few seconds, so that a turn costs no query and
//! a key that was revoked, a role that was changed, is noticed soon on every node.
//!
//! A database that is away lets no key in: better late than a key that was revoked.

use super::error::AccountError;
use crate::auth::{ApiKeyToken, OpaqueToken};
use crate::store::Db;
use crate::store::api_keys::ApiKey;
use crate::types::{ApiKeyId, Ctx, KeyCtx, Role, Scope, TenantId};
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a verified key is believed.
const FRESH: Duration = Duration::from_secs(5);
/// `last_used_at` is not written more often.
const USED: chrono::Duration = chrono::Duration::minutes(1);

/// Verifies keys. Cheap to clone.
#[derive(Clone)]
pub struct KnownKeys {
    db: Db,
    known: Arc<DashMap<(TenantId, ApiKeyId), Known>>,
}

/// What the database said of a key.
#[derive(Clone)]
struct Known {
    at: Instant,
    ctx: Ctx,
    row: Arc<ApiKey>,
}

impl Known {
    fn new(row: ApiKey, role: &str) -> Self {
        let limit = |n: Option<i32>| n.and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?));
        let key = KeyCtx {
            id: row.id,
            scopes: row
                .scopes
                .iter()
                .flatten()
                .filter_map(|word| word.parse::<Scope>().ok())
                .collect(),
            requests_per_minute: limit(row.requests_per_minute),
            tokens_per_minute: limit(row.tokens_per_minute),
        };
        let role = role.parse().unwrap_or(Role::Billing);
        let ctx = Ctx { key: Some(key), ..Ctx::new(row.tenant_id, row.user_id, role) };
        Self { at: Instant::now(), ctx, row: Arc::new(row) }
    }

    fn expired(&self, now: DateTime<Utc>) -> bool {
        self.row.expires_at.is_some_and(|at| at <= now)
    }

    /// Whether this is the key's secret, or the one before while that still works.
    fn admits(&self, token: &OpaqueToken, now: DateTime<Utc>) -> bool {
        let before = self.row.previous_hash.as_ref().zip(self.row.previous_until);
        let before = before.filter(|(_, until)| *until > now);
        token.matches(&self.row.key_hash) || before.is_some_and(|(hash, _)| token.matches(hash))
    }
}

impl KnownKeys {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db, known: Arc::default() }
    }

    /// Who a key acts as, and within which scopes.
    ///
    /// # Errors
    /// `WrongKey`, whatever is wrong with it.
    pub async fn verify(&self, key: &str) -> Result<Ctx, AccountError> {
        let token = ApiKeyToken::parse(key).map_err(|_why| AccountError::WrongKey)?;
        let known = self.known(token.tenant, token.id.into(), Some(&token)).await?;
        match known.admits(&token, Utc::now()) && !known.expired(Utc::now()) {
            true => Ok(known.ctx),
            false => Err(AccountError::WrongKey),
        }
    }

    /// Who a key that was verified acts as now.
    ///
    /// # Errors
    /// `WrongKey` when it was revoked or has expired.
    pub async fn again(&self, tenant: TenantId, id: ApiKeyId) -> Result<Ctx, AccountError> {
        let known = self.known(tenant, id, None).await?;
        if known.expired(Utc::now()) { Err(AccountError::WrongKey) } else { Ok(known.ctx) }
    }

    async fn known(
        &self,
        tenant: TenantId,
        id: ApiKeyId,
        used: Option<&OpaqueToken>,
    ) -> Result<Known, AccountError> {
        let known = self.known.get(&(tenant, id)).map(|entry| entry.clone());
        if let Some(known) = known.filter(|known| known.at.elapsed() < FRESH) {
            return Ok(known);
        }
        let asked = Instant::now();
        let mut tx = self.db.tenant(tenant).await?;
        let Some((row, role)) = ApiKey::find(&mut tx, tenant, id).await? else {
            self.forget(tenant, id);
            return Err(AccountError::WrongKey);
        };
        let known = Known { at: asked, ..Known::new(row, &role) };
        let now = Utc::now();
        let right = used.is_some_and(|token| known.admits(token, now)) && !known.expired(now);
        if right && known.row.last_used_at.is_none_or(|at| now - at >= USED) {
            known.row.touch(&mut tx).await?;
        }
        tx.commit().await?;
        self.known.insert((tenant, id), known.clone());
        Ok(known)
    }

    /// The key was changed: what is known of it is not true any more.
    pub(super) fn forget(&self, tenant: TenantId, id: ApiKeyId) {
        self.known.remove(&(tenant, id));
    }

    /// Forgets what is old.
    pub fn sweep(&self) {
        self.known.retain(|_, known| known.at.elapsed() < FRESH);
    }
}
