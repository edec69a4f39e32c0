//! One-use tickets that open a WebSocket: browsers cannot send an Authorization header there.

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
}

impl WsTicket {
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(ws_tickets::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// Takes the ticket out: whoever gets the row is the only one.
    pub async fn take(conn: &mut Conn, tenant: TenantId, id: Uuid) -> QueryResult<Option<Self>> {
        diesel::delete(ws_tickets::table.find((tenant, id)))
            .returning(Self::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}

/// Forgets what expired; needs a system transaction.
pub async fn delete_expired(conn: &mut Conn) -> QueryResult<usize> {
    diesel::delete(ws_tickets::table.filter(ws_tickets::expires_at.lt(now))).execute(conn).await
}
