//! Questions and answers: a tree by `parent_id`.

use super::Conn;
use super::schema::messages;
use crate::types::{ConversationId, MessageId, TenantId, TurnId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = messages)]
pub struct Message {
    pub id: MessageId,
    pub turn_id: TurnId,
    /// user or assistant.
    pub role: String,
    /// complete, stopped or failed.
    pub status: String,
    pub content: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Insertable)]
#[diesel(table_name = messages)]
pub struct NewMessage<'a> {
    pub tenant_id: TenantId,
    pub id: MessageId,
    pub conversation_id: ConversationId,
    pub parent_id: Option<MessageId>,
    pub turn_id: TurnId,
    pub role: &'a str,
    pub status: &'a str,
    pub content: &'a str,
}

impl NewMessage<'_> {
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(messages::table).values(self).execute(conn).await?;
        Ok(())
    }
}

impl Message {
    /// Oldest first.
    pub async fn list(
        conn: &mut Conn,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> QueryResult<Vec<Self>> {
        messages::table
            .filter(messages::tenant_id.eq(tenant).and(messages::conversation_id.eq(conversation)))
            .order(messages::id)
            .select(Self::as_select())
            .load(conn)
            .await
    }

    /// The last `limit` messages, oldest first.
    pub async fn latest(
        conn: &mut Conn,
        tenant: TenantId,
        conversation: ConversationId,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        let mut found: Vec<Self> = messages::table
            .filter(messages::tenant_id.eq(tenant).and(messages::conversation_id.eq(conversation)))
            .order(messages::id.desc())
            .limit(limit)
            .select(Self::as_select())
            .load(conn)
            .await?;
        found.reverse();
        Ok(found)
    }

    /// The answer of a turn.
    pub async fn find(
        conn: &mut Conn,
        tenant: TenantId,
        id: MessageId,
    ) -> QueryResult<Option<Self>> {
        messages::table.find((tenant, id)).select(Self::as_select()).first(conn).await.optional()
    }
}
