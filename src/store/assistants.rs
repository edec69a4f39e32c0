//! Assistants ("specialists"): who answers, and how. What a turn reads; what is edited is in
//! [`super::assistant_drafts`].

use super::Conn;
use super::sql::sql;
use crate::types::{AssistantId, ConversationId, TenantId};
use diesel::prelude::*;
use diesel::sql_types::{Array, Float, Integer, Nullable, Text, Uuid};
use diesel_async::RunQueryDsl;

/// A published version of an assistant, or its draft.
#[derive(Clone, Debug, QueryableByName)]
pub struct Assistant {
    #[diesel(sql_type = Uuid)]
    pub id: AssistantId,
    #[diesel(sql_type = Text)]
    pub slug: String,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub description: String,
    #[diesel(sql_type = Text)]
    pub greeting: String,
    #[diesel(sql_type = Text)]
    pub instructions: String,
    /// A route's or a model's name. `None`: the server's default.
    #[diesel(sql_type = Nullable<Text>)]
    pub model: Option<String>,
    /// `None`: as the provider likes.
    #[diesel(sql_type = Nullable<Float>)]
    pub temperature: Option<f32>,
    /// A BCP 47 tag. `None`: the language of the question.
    #[diesel(sql_type = Nullable<Text>)]
    pub language: Option<String>,
    /// Whose documents it answers from. Empty: all documents.
    #[diesel(sql_type = Array<Text>)]
    pub collections: Vec<String>,
    /// The names of the tools it may call.
    #[diesel(sql_type = Array<Text>)]
    pub tools: Vec<String>,
    /// `None`: never published.
    #[diesel(sql_type = Nullable<Integer>)]
    pub version: Option<i32>,
}

const COLUMNS: &str =
    "id, slug, name, description, greeting, instructions, model, temperature, language,
    collections, tools, version";

impl Assistant {
    /// Those that can be asked, oldest first: the first is the default.
    pub async fn list(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<Self>> {
        sql(format!(
            "SELECT {COLUMNS} FROM assistants
             WHERE tenant_id = $1 AND version IS NOT NULL AND archived_at IS NULL ORDER BY id"
        ))
        .bind::<Uuid, _>(tenant)
        .load(conn)
        .await
    }

    /// As it is published; a conversation goes on with one that was archived.
    pub async fn find(
        mut conn: &Conn,
        tenant: TenantId,
        id: AssistantId,
    ) -> QueryResult<Option<Self>> {
        sql(format!(
            "SELECT {COLUMNS} FROM assistants
             WHERE tenant_id = $1 AND id = $2 AND version IS NOT NULL"
        ))
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(id)
        .get_result(&mut conn)
        .await
        .optional()
    }

    /// That of a conversation.
    pub async fn of(
        mut conn: &Conn,
        tenant: TenantId,
        conversation: ConversationId,
    ) -> QueryResult<Option<Self>> {
        sql(format!(
            "SELECT {COLUMNS} FROM assistants WHERE tenant_id = $1 AND version IS NOT NULL
               AND id = (SELECT assistant_id FROM conversations WHERE tenant_id = $1 AND id = $2)"
        ))
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(conversation)
        .get_result(&mut conn)
        .await
        .optional()
    }

    /// As its draft is.
    pub async fn draft(
        mut conn: &Conn,
        tenant: TenantId,
        id: AssistantId,
    ) -> QueryResult<Option<Self>> {
        sql(format!(
            "SELECT d.* FROM assistants a, LATERAL (
               SELECT {COLUMNS} FROM jsonb_populate_record(a, a.draft)) d
             WHERE a.tenant_id = $1 AND a.id = $2"
        ))
        .bind::<Uuid, _>(tenant)
        .bind::<Uuid, _>(id)
        .get_result(&mut conn)
        .await
        .optional()
    }

    /// One that can be asked, by slug or id; `None` asks for the tenant's default.
    pub async fn pick(
        mut conn: &Conn,
        tenant: TenantId,
        name: Option<&str>,
    ) -> QueryResult<Option<Self>> {
        if !name.unwrap_or_default().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Ok(None); // neither slug nor id; and PostgreSQL refuses NUL
        }
        let id = name.and_then(|name| name.parse::<AssistantId>().ok());
        sql(format!(
            "SELECT {COLUMNS} FROM assistants
             WHERE tenant_id = $1 AND version IS NOT NULL AND archived_at IS NULL
               AND ($2 IS NULL OR id = $3 OR ($3 IS NULL AND slug = $2)) ORDER BY id LIMIT 1"
        ))
        .bind::<Uuid, _>(tenant)
        .bind::<Nullable<Text>, _>(name)
        .bind::<Nullable<Uuid>, _>(id)
        .get_result(&mut conn)
        .await
        .optional()
    }
}
