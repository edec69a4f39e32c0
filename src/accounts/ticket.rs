//! Tickets, for where a browser cannot send an Authorization header. One for a WebSocket is used once, within thirty
//! seconds: in a subprotocol that ends up in somebody's log it is worth nothing. One for an event stream is part of
//! an address that `EventSource` comes back to by itself: it lives as long as an access token, and shows that
//! stream and nothing else.

use super::error::AccountError;
use super::known_keys::KnownKeys;
use crate::auth::OpaqueToken;
use crate::store::users::User;
use crate::store::ws_tickets::WsTicket;
use crate::store::{Db, Tx};
use crate::types::Ctx;
use chrono::{Duration, Utc};
use uuid::Uuid;

const SOCKET: &str = "wt";
const STREAM: &str = "st";

/// Issues and takes tickets. Cheap to clone.
#[derive(Clone)]
pub struct Tickets {
    db: Db,
    keys: KnownKeys,
}

impl Tickets {
    /// How long a WebSocket's ticket is valid, in seconds.
    pub const TTL_SECONDS: i64 = 30;
    /// How long an event stream's is.
    pub const STREAM_TTL_SECONDS: i64 = 15 * 60;

    /// Over `db`; `keys` knows who a ticket is that was got with a key.
    #[must_use]
    pub fn new(db: Db, keys: KnownKeys) -> Self {
        Self { db, keys }
    }

    /// A ticket with which `ctx` opens one WebSocket.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issue(&self, ctx: Ctx) -> Result<String, AccountError> {
        let ticket = self.keep(ctx, None, Self::TTL_SECONDS).await?;
        Ok(ticket.reveal(SOCKET))
    }

    /// A ticket with which `ctx` reads the events of one turn or file, again and again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn issue_for(&self, ctx: Ctx, stream_of: Uuid) -> Result<String, AccountError> {
        let ticket = self.keep(ctx, Some(stream_of), Self::STREAM_TTL_SECONDS).await?;
        Ok(ticket.reveal(STREAM))
    }

    async fn keep(
        &self,
        ctx: Ctx,
        stream_of: Option<Uuid>,
        seconds: i64,
    ) -> Result<OpaqueToken, AccountError> {
        let ticket = OpaqueToken::generate(ctx.tenant);
        let mut tx = self.db.tenant(ctx.tenant).await?;
        WsTicket {
            tenant_id: ctx.tenant,
            id: ticket.id,
            user_id: ctx.user,
            ticket_hash: ticket.hash(),
            expires_at: Utc::now() + Duration::seconds(seconds),
            api_key_id: ctx.key.map(|key| key.id),
            stream_of,
        }
        .insert(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(ticket)
    }

    /// Uses a WebSocket's ticket up.
    ///
    /// # Errors
    /// `WrongTicket`, whatever is wrong.
    pub async fn redeem(&self, ticket: &str) -> Result<Ctx, AccountError> {
        let ticket =
            OpaqueToken::parse(SOCKET, ticket).map_err(|_why| AccountError::WrongTicket)?;
        let mut tx = self.db.tenant(ticket.tenant).await?;
        let row = WsTicket::take(&mut tx, ticket.tenant, ticket.id).await?;
        self.admit(tx, &ticket, row).await
    }

    /// Who reads the events of `stream_of` with this ticket.
    ///
    /// # Errors
    /// `WrongTicket`, whatever is wrong.
    pub async fn read(&self, ticket: &str, stream_of: Uuid) -> Result<Ctx, AccountError> {
        let ticket =
            OpaqueToken::parse(STREAM, ticket).map_err(|_why| AccountError::WrongTicket)?;
        let mut tx = self.db.tenant(ticket.tenant).await?;
        let row = WsTicket::find(&mut tx, ticket.tenant, ticket.id, stream_of).await?;
        self.admit(tx, &ticket, row).await
    }

    /// The user's role, and what the key may do, is read anew.
    async fn admit(
        &self,
        mut tx: Tx,
        ticket: &OpaqueToken,
        row: Option<WsTicket>,
    ) -> Result<Ctx, AccountError> {
        let wrong = || AccountError::WrongTicket;
        let row = row.ok_or_else(wrong)?;
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
