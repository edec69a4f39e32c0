//! What was said on a branch up to a message, in short.

use super::Conn;
use super::messages::Message;
use super::schema::summaries;
use crate::types::{MessageId, TenantId};
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
        conn: &mut Conn,
        tenant: TenantId,
        leaf: MessageId,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        diesel::sql_query(
            "WITH RECURSIVE branch AS (
               SELECT m.*, s.content AS summary, 1::bigint AS place FROM messages m
               LEFT JOIN summaries s ON s.tenant_id = $1 AND s.message_id = m.id
               WHERE m.tenant_id = $1 AND m.id = $2
               UNION ALL
               SELECT m.*, s.content, b.place + 1 FROM branch b
               JOIN messages m ON m.tenant_id = $1 AND m.id = b.parent_id
               LEFT JOIN summaries s ON s.tenant_id = $1 AND s.message_id = m.id
               WHERE b.place < $3 AND b.summary IS NULL)
             SELECT id, parent_id, turn_id, role, status, content, created_at, summary
             FROM branch ORDER BY place DESC",
        )
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(leaf)
        .bind::<BigInt, _>(limit)
        .load(conn)
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
