//! One-use tickets for WebSockets, valid for thirty seconds. A ticket in a URL or a subprotocol that
//! ends up in somebody's log is worth nothing: it was used, or it expired.

use super::error::AccountError;
use super::known_keys::KnownKeys;
use crate::auth::OpaqueToken;
use crate::store::Db;
use crate::store::users::User;
use crate::store::ws_tickets::WsTicket;
use crate::types::Ctx;
use chrono::{Duration, Utc};

const PREFIX: &str = "wt";

/// Issues and takes tickets. Cheap to clone.
#[derive(Clone)]
pub struct Tickets {
    db: Db,
    keys: KnownKeys,
}

impl Tickets {
    /// How long a ticket is valid, in seconds.
    pub const TTL_SECONDS: i64 = 30;

    /// Over `db`; `keys` knows who a ticket is that was got with a key.
    #[must_use]
    pub fn new(db: Db, keys: KnownKeys) -> Self {
        Self { db, keys }
    }

    /// A ticket for `ctx`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issue(&self, ctx: Ctx) -> Result<String, AccountError> {
        let ticket = OpaqueToken::generate(ctx.tenant);
        let mut tx = self.db.tenant(ctx.tenant).await?;
        WsTicket {
            tenant_id: ctx.tenant,
            id: ticket.id,
            user_id: ctx.user,
            ticket_hash: ticket.hash(),
            expires_at: Utc::now() + Duration::seconds(Self::TTL_SECONDS),
            api_key_id: ctx.key.map(|key| key.id),
        }
        .insert(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(ticket.reveal(PREFIX))
    }

    /// Uses a ticket up; its user's role, and what its key may do, is read anew.
    ///
    /// # Errors
    /// `WrongTicket`, whatever is wrong.
    pub async fn redeem(&self, ticket: &str) -> Result<Ctx, AccountError> {
        let wrong = || AccountError::WrongTicket;
        let ticket = OpaqueToken::parse(PREFIX, ticket).map_err(|_why| wrong())?;
        let mut tx = self.db.tenant(ticket.tenant).await?;
        let row = WsTicket::take(&mut tx, ticket.tenant, ticket.id).await?.ok_or_else(wrong)?;
        let user = User::find(&mut tx, ticket.tenant, row.user_id).await?.ok_or_else(wrong)?;
        tx.commit().await?;
        if !ticket.matches(&row.ticket_hash) || row.expires_at < Utc::now() {
            return Err(wrong());
        }
        match row.api_key_id {
            Some(key) => self.keys.again(ticket.tenant, key).await,
            None => Ok(Ctx::new(ticket.tenant, user.id, user.role())),
        }
    }
}
