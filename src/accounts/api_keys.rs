//! API keys: made, rotated and revoked by people. Each is recorded in the audit log.
//!
//! A key acts as the user it belongs to, so only they get its secret: others may see that it is there
//! and revoke it. Deliberately absent: keys that make keys.

use super::api_key::NewApiKey;
use super::error::AccountError;
use super::known_keys::KnownKeys;
use crate::auth::ApiKeyToken;
use crate::store::api_keys::ApiKey;
use crate::store::operator::Audit;
use crate::store::{Conn, Db};
use crate::types::{ApiKeyId, Ctx};
use chrono::{Duration, Utc};
use serde_json::json;
use std::num::NonZeroU32;
use uuid::Uuid;

/// A person has at most so many.
const MOST: usize = 50;

/// A key with its secret, which is never shown again.
pub struct FreshApiKey {
    pub row: ApiKey,
    pub secret: String,
}

/// Keeps keys. Cheap to clone.
#[derive(Clone)]
pub struct ApiKeys {
    db: Db,
    known: KnownKeys,
}

impl ApiKeys {
    /// Over `db`; `known` forgets at once what is changed here.
    #[must_use]
    pub fn new(db: Db, known: KnownKeys) -> Self {
        Self { db, known }
    }

    /// Makes a key that acts as `by`.
    ///
    /// # Errors
    /// `Invalid` when they have too many.
    pub async fn create(
        &self,
        by: Ctx,
        new: NewApiKey,
        request: &str,
    ) -> Result<FreshApiKey, AccountError> {
        let key = ApiKeyToken::generate(by.tenant);
        let number = |n: NonZeroU32| i32::try_from(n.get()).unwrap_or(i32::MAX);
        let row = ApiKey {
            tenant_id: by.tenant,
            id: key.token().id.into(),
            user_id: by.user,
            name: new.name,
            scopes: new.scopes.iter().map(|scope| Some(scope.as_str().to_owned())).collect(),
            key_hash: key.token().hash(),
            hint: key.hint(),
            previous_hash: None,
            previous_until: None,
            requests_per_minute: new.requests_per_minute.map(number),
            tokens_per_minute: new.tokens_per_minute.map(number),
            expires_at: new.expires_at,
            last_used_at: None,
            created_at: Utc::now(),
        };
        let mut tx = self.db.tenant(by.tenant).await?;
        if ApiKey::list(&mut tx, by.tenant, Some(by.user)).await?.len() >= MOST {
            return Err(AccountError::Invalid(format!("you have {MOST} keys: revoke one first")));
        }
        row.insert(&mut tx).await?;
        note(&mut tx, by, "api_key.created", &row, request).await?;
        tx.commit().await?;
        Ok(FreshApiKey { row, secret: key.reveal() })
    }

    /// One's own keys, or with `all` those of the whole tenant; with the addresses of their users.
    ///
    /// # Errors
    /// `NotYours` when somebody may not see all.
    pub async fn list(&self, by: Ctx, all: bool) -> Result<Vec<(ApiKey, String)>, AccountError> {
        if all && !by.manages_keys() {
            return Err(AccountError::NotYours);
        }
        let mut tx = self.db.tenant(by.tenant).await?;
        let rows = ApiKey::list(&mut tx, by.tenant, (!all).then_some(by.user)).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// Gives one's own key another secret; the old one works for `grace`. A key may do it to itself.
    ///
    /// # Errors
    /// `NoKey`, and `NotYours` of a key that one may see.
    pub async fn rotate(
        &self,
        by: Ctx,
        id: ApiKeyId,
        grace: Duration,
        request: &str,
    ) -> Result<FreshApiKey, AccountError> {
        let mut tx = self.db.tenant(by.tenant).await?;
        let mut row = find(&mut tx, by, id).await?;
        if row.user_id != by.user || by.key.is_some_and(|key| key.id != id) {
            return Err(AccountError::NotYours);
        }
        let key = ApiKeyToken::rotated(by.tenant, id.uuid());
        let until = Utc::now() + grace;
        let (hash, hint) = (key.token().hash(), key.hint());
        row.rotate(&mut tx, &hash, &hint, until).await?;
        row.previous_hash = Some(std::mem::replace(&mut row.key_hash, hash));
        (row.hint, row.previous_until) = (hint, Some(until));
        note(&mut tx, by, "api_key.rotated", &row, request).await?;
        tx.commit().await?;
        self.known.forget(by.tenant, id);
        Ok(FreshApiKey { row, secret: key.reveal() })
    }

    /// Ends a key: here at once, on other nodes within seconds.
    ///
    /// # Errors
    /// `NoKey` when there is none that they may see.
    pub async fn revoke(&self, by: Ctx, id: ApiKeyId, request: &str) -> Result<(), AccountError> {
        let mut tx = self.db.tenant(by.tenant).await?;
        let row = find(&mut tx, by, id).await?;
        row.delete(&mut tx).await?;
        note(&mut tx, by, "api_key.revoked", &row, request).await?;
        tx.commit().await?;
        self.known.forget(by.tenant, id);
        Ok(())
    }
}

/// A key that they may see.
async fn find(conn: &mut Conn, by: Ctx, id: ApiKeyId) -> Result<ApiKey, AccountError> {
    let found = ApiKey::find(conn, by.tenant, id).await?;
    let seen = found.filter(|(row, _)| row.user_id == by.user || by.manages_keys());
    Ok(seen.ok_or(AccountError::NoKey)?.0)
}

async fn note(
    conn: &mut Conn,
    by: Ctx,
    action: &str,
    row: &ApiKey,
    request: &str,
) -> Result<(), AccountError> {
    let audit = Audit {
        tenant_id: by.tenant,
        id: Uuid::now_v7(),
        actor: match by.key {
            Some(key) => format!("api_key:{}", key.id),
            None => format!("user:{}", by.user),
        },
        action: action.into(),
        detail: json!({"api_key_id": row.id, "user_id": row.user_id, "name": row.name, "scopes": row.scopes,
            "expires_at": row.expires_at, "previous_until": row.previous_until}),
        request_id: Some(request.into()),
    };
    audit.insert(conn).await?;
    Ok(())
}
