//! What was said on a branch up to a message, in short.

use super::Conn;
use super::messages::Message;
use super::schema::summaries;
use super::sql::sql;
use crate::types::{ConversationId, MessageId, TenantId};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

/// A message, and what was summed up until it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Remembered {
    #[diesel(embed)]
    pub message: Message,
    #[diesel(sql_type = Nullable<Text>)]
    pub summary: Option<String>,
}

impl Remembered {
    /// The branch that ends with `leaf`, back to the nearest message that has a summary, or `limit`
    /// messages; oldest first.
    pub async fn branch(
        conn: &Conn,
        tenant: TenantId,
        leaf: MessageId,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        Self::up_from("$2", conn, tenant, leaf.uuid(), limit).await
    }

    /// The same of the branch that the user of a conversation looks at.
    pub async fn shown(
        conn: &Conn,
        tenant: TenantId,
        conversation: ConversationId,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        let leaf = "(SELECT leaf_id FROM conversations WHERE tenant_id = $1 AND id = $2)";
        Self::up_from(leaf, conn, tenant, conversation.uuid(), limit).await
    }

    async fn up_from(
        leaf: &str,
        mut conn: &Conn,
        tenant: TenantId,
        id: uuid::Uuid,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        sql(format!(
            "WITH RECURSIVE branch AS (
               SELECT m.*, s.content AS summary, 1::bigint AS place FROM messages m
               LEFT JOIN summaries s ON s.tenant_id = $1 AND s.message_id = m.id
               WHERE m.tenant_id = $1 AND m.id = {leaf}
               UNION ALL
               SELECT m.*, s.content, b.place + 1 FROM branch b
               JOIN messages m ON m.tenant_id = $1 AND m.id = b.parent_id
               LEFT JOIN summaries s ON s.tenant_id = $1 AND s.message_id = m.id
               WHERE b.place < $3 AND b.summary IS NULL)
             SELECT id, parent_id, turn_id, role, status, content, created_at, summary
             FROM branch ORDER BY place DESC"
        ))
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(id)
        .bind::<BigInt, _>(limit)
        .load(&mut conn)
        .await
    }
}

/// Keeps a summary; the first one stays.
pub async fn insert(
    conn: &mut Conn,
    tenant: TenantId,
    message: MessageId,
    content: &str,
) -> QueryResult<()> {
    diesel::insert_into(summaries::table)
        .values((
            summaries::tenant_id.eq(tenant),
            summaries::message_id.eq(message),
            summaries::content.eq(content),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(())
}
