//! Sessions: a short access token, and a refresh token that is used once.
//!
//! Using a refresh token twice means that two parties hold it: the whole login ends. Access tokens
//! that are out live on until they expire, at most fifteen minutes.

use super::error::AccountError;
use super::known_keys::KnownKeys;
use crate::auth::{AccessTokens, ApiKeyToken, OpaqueToken};
use crate::store::refresh_tokens::RefreshToken;
use crate::store::tenants::Tenant;
use crate::store::users::User;
use crate::store::{Conn, Db};
use crate::types::Ctx;
use chrono::{Duration, Utc};
use uuid::Uuid;

const PREFIX: &str = "rt";
const REFRESH_DAYS: i64 = 30;

/// What a client keeps.
pub struct Session {
    pub access_token: String,
    pub expires_in: u64,
    pub refresh_token: String,
    pub user: User,
    pub tenant: Tenant,
}

/// Begins, refreshes and ends sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    db: Db,
    tokens: AccessTokens,
    keys: KnownKeys,
}

impl Sessions {
    /// Over `db`, with tokens signed by `tokens`.
    #[must_use]
    pub fn new(db: Db, tokens: AccessTokens, keys: KnownKeys) -> Self {
        Self { db, tokens, keys }
    }

    /// A new login, in the transaction that proved it.
    pub(super) async fn begin(
        &self,
        tx: &mut Conn,
        tenant: &Tenant,
        user: &User,
    ) -> Result<Session, AccountError> {
        self.issue(tx, tenant, user, Uuid::now_v7()).await
    }

    async fn issue(
        &self,
        tx: &mut Conn,
        tenant: &Tenant,
        user: &User,
        family: Uuid,
    ) -> Result<Session, AccountError> {
        let refresh = OpaqueToken::generate(tenant.id);
        RefreshToken {
            tenant_id: tenant.id,
            id: refresh.id,
            user_id: user.id,
            family_id: family,
            token_hash: refresh.hash(),
            expires_at: Utc::now() + Duration::days(REFRESH_DAYS),
            used_at: None,
            revoked_at: None,
        }
        .insert(tx)
        .await?;
        let ctx = Ctx::new(tenant.id, user.id, user.role());
        Ok(Session {
            access_token: self.tokens.issue(ctx, family)?,
            expires_in: AccessTokens::TTL_SECONDS,
            refresh_token: refresh.reveal(PREFIX),
            user: user.clone(),
            tenant: tenant.clone(),
        })
    }

    /// Trades a refresh token for a new pair.
    ///
    /// # Errors
    /// `WrongRefreshToken`; when it was used before, the whole login has ended with this call.
    pub async fn refresh(&self, token: &str) -> Result<Session, AccountError> {
        let wrong = || AccountError::WrongRefreshToken;
        let token = OpaqueToken::parse(PREFIX, token).map_err(|_why| wrong())?;
        let mut tx = self.db.tenant(token.tenant).await?;
        let row = RefreshToken::lock(&mut tx, token.tenant, token.id).await?;
        let row = row.filter(|row| token.matches(&row.token_hash)).ok_or_else(wrong)?;
        if row.used_at.is_some() {
            row.revoke_family(&mut tx).await?;
            tx.commit().await?;
            tracing::warn!(user.id = %row.user_id, "A refresh token was used twice: login ended");
            return Err(wrong());
        }
        if row.revoked_at.is_some() || row.expires_at < Utc::now() {
            return Err(wrong());
        }
        row.mark_used(&mut tx).await?;
        let tenant = Tenant::find(&mut tx, token.tenant).await?.ok_or_else(wrong)?;
        let user = User::find(&mut tx, token.tenant, row.user_id).await?.ok_or_else(wrong)?;
        let session = self.issue(&mut tx, &tenant, &user, row.family_id).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// Ends the login a refresh token belongs to. One that is not known is no error: it is out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(&self, token: &str) -> Result<(), AccountError> {
        let Ok(token) = OpaqueToken::parse(PREFIX, token) else { return Ok(()) };
        let mut tx = self.db.tenant(token.tenant).await?;
        let row = RefreshToken::lock(&mut tx, token.tenant, token.id).await?;
        if let Some(row) = row.filter(|row| token.matches(&row.token_hash)) {
            row.revoke_family(&mut tx).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Who a bearer is: by an access token at once, by an API key after a look at the database now and
    /// then.
    ///
    /// # Errors
    /// `Jwt` or `WrongKey` when it is not valid.
    pub async fn authenticate(&self, bearer: &str) -> Result<Ctx, AccountError> {
        match ApiKeyToken::looks_like_one(bearer) {
            true => self.keys.verify(bearer).await,
            false => Ok(self.tokens.verify(bearer)?.ctx()),
        }
    }

    /// Who somebody is who was let in a while ago: a key may have been revoked since. An access token
    /// holds until it expires, and a socket that was opened with one for as long as it is open.
    ///
    /// # Errors
    /// `WrongKey`.
    pub async fn again(&self, ctx: Ctx) -> Result<Ctx, AccountError> {
        match ctx.key {
            Some(key) => self.keys.again(ctx.tenant, key.id).await,
            None => Ok(ctx),
        }
    }

    /// The user and tenant of a principal; `None` when they were deleted since.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn whoami(&self, ctx: Ctx) -> Result<Option<(User, Tenant)>, AccountError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let user = User::find(&mut tx, ctx.tenant, ctx.user).await?;
        let tenant = Tenant::find(&mut tx, ctx.tenant).await?;
        tx.commit().await?;
        Ok(user.zip(tenant))
    }
}
