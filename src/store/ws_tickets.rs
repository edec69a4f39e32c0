//! Tickets, for where browsers cannot send an Authorization header: one opens a WebSocket once, another one
//! event stream as often as it breaks.

use super::Conn;
use super::schema::ws_tickets;
use crate::types::{ApiKeyId, TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = ws_tickets)]
pub struct WsTicket {
    pub tenant_id: TenantId,
    pub id: Uuid,
    pub user_id: UserId,
    pub ticket_hash: Vec<u8>,
    pub expires_at: DateTime<Utc>,
    /// The key that it was got with.
    pub api_key_id: Option<ApiKeyId>,
    /// The turn or file whose events it shows; `None`: it opens a WebSocket.
    pub stream_of: Option<Uuid>,
}

impl WsTicket {
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(ws_tickets::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// Takes a WebSocket's ticket out: whoever gets the row is the only one.
    pub async fn take(conn: &mut Conn, tenant: TenantId, id: Uuid) -> QueryResult<Option<Self>> {
        let row = ws_tickets::table.find((tenant, id));
        diesel::delete(row.filter(ws_tickets::stream_of.is_null()))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }

    /// The ticket of an event stream, which stays.
    pub async fn find(
        conn: &mut Conn,
        tenant: TenantId,
        id: Uuid,
        stream_of: Uuid,
    ) -> QueryResult<Option<Self>> {
        let row = ws_tickets::table.find((tenant, id));
        let row = row.filter(ws_tickets::stream_of.eq(stream_of)).select(Self::as_select());
        row.first(conn).await.optional()
    }
}

/// Forgets what expired; needs a system transaction.
pub async fn delete_expired(conn: &mut Conn) -> QueryResult<usize> {
    diesel::delete(ws_tickets::table.filter(ws_tickets::expires_at.lt(now))).execute(conn).await
}
