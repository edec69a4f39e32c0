//! Questions and answers: a tree by `parent_id`.

use super::Conn;
use super::schema::messages;
use super::sql::{Kept, sql};
use crate::types::{ConversationId, MessageId, TenantId, TurnId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Uuid};
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = messages)]
pub struct Message {
    pub id: MessageId,
    /// What it follows or answers; `None` for a first question.
    pub parent_id: Option<MessageId>,
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
    pub async fn insert(&self, mut conn: &Conn) -> QueryResult<()> {
        Kept(diesel::insert_into(messages::table).values(self)).execute(&mut conn).await?;
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

    /// The last `limit` messages of the branch that ends with `leaf`, oldest first.
    pub async fn branch(
        mut conn: &Conn,
        tenant: TenantId,
        leaf: MessageId,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        sql("WITH RECURSIVE branch AS (
               SELECT m.*, 1::bigint AS place FROM messages m WHERE tenant_id = $1 AND id = $2
               UNION ALL
               SELECT m.*, b.place + 1 FROM branch b
               JOIN messages m ON m.tenant_id = $1 AND m.id = b.parent_id WHERE b.place < $3)
             SELECT id, parent_id, turn_id, role, status, content, created_at
             FROM branch ORDER BY place DESC")
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(leaf)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await
    }

    /// A message of this conversation.
    pub async fn find_in(
        mut conn: &Conn,
        tenant: TenantId,
        conversation: ConversationId,
        id: MessageId,
    ) -> QueryResult<Option<Self>> {
        messages::table
            .find((tenant, id))
            .filter(messages::conversation_id.eq(conversation))
            .select(Self::as_select())
            .first(&mut conn)
            .await
            .optional()
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

/// A message's place in the tree.
#[derive(Clone, Copy, Debug, Queryable, Selectable)]
#[diesel(table_name = messages)]
pub struct Place {
    pub id: MessageId,
    pub parent_id: Option<MessageId>,
}

/// The whole tree of a conversation, oldest first.
pub async fn tree(
    conn: &mut Conn,
    tenant: TenantId,
    conversation: ConversationId,
) -> QueryResult<Vec<Place>> {
    messages::table
        .filter(messages::tenant_id.eq(tenant).and(messages::conversation_id.eq(conversation)))
        .order(messages::id)
        .select(Place::as_select())
        .load(conn)
        .await
}

/// The newest leaf at or below a message of this conversation. A question that is `being_answered`
/// counts as one, the newest of all, whatever answers it has already.
pub async fn newest_leaf(
    conn: &mut Conn,
    tenant: TenantId,
    conversation: ConversationId,
    id: MessageId,
    being_answered: Option<MessageId>,
) -> QueryResult<Option<MessageId>> {
    #[derive(QueryableByName)]
    struct Leaf {
        #[diesel(sql_type = Uuid)]
        id: MessageId,
    }
    let leaf: Option<Leaf> = sql("WITH RECURSIVE below AS (
           SELECT id FROM messages WHERE tenant_id = $1 AND conversation_id = $2 AND id = $3
           UNION ALL
           SELECT m.id FROM below b JOIN messages m ON m.tenant_id = $1 AND m.parent_id = b.id)
         SELECT id FROM below b
         WHERE b.id = $4 OR NOT EXISTS (
           SELECT FROM messages m WHERE m.tenant_id = $1 AND m.parent_id = b.id)
         ORDER BY coalesce(b.id = $4, false) DESC, b.id DESC LIMIT 1")
    .bind::<Uuid, _>(tenant)
    .bind::<Uuid, _>(conversation)
    .bind::<Uuid, _>(id)
    .bind::<Nullable<Uuid>, _>(being_answered)
    .get_result(conn)
    .await
    .optional()?;
    Ok(leaf.map(|leaf| leaf.id))
}
