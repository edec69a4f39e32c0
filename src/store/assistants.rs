//! Assistants ("specialists"): who answers, and how.

use super::Conn;
use super::schema::assistants;
use crate::types::{AssistantId, TenantId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = assistants)]
pub struct Assistant {
    pub tenant_id: TenantId,
    pub id: AssistantId,
    pub slug: String,
    pub name: String,
    pub description: String,
    pub greeting: String,
    pub instructions: String,
    /// `None`: the server's default model.
    pub model: Option<String>,
}

impl Assistant {
    /// Oldest first: the first is the default.
    pub async fn list(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<Self>> {
        assistants::table
            .filter(assistants::tenant_id.eq(tenant))
            .order(assistants::id)
            .select(Self::as_select())
            .load(conn)
            .await
    }

    pub async fn find(
        conn: &mut Conn,
        tenant: TenantId,
        id: AssistantId,
    ) -> QueryResult<Option<Self>> {
        assistants::table.find((tenant, id)).select(Self::as_select()).first(conn).await.optional()
    }

    /// By slug or id; `None` asks for the tenant's default.
    pub async fn pick(
        conn: &mut Conn,
        tenant: TenantId,
        name: Option<&str>,
    ) -> QueryResult<Option<Self>> {
        let mut query = assistants::table
            .filter(assistants::tenant_id.eq(tenant))
            .order(assistants::id)
            .select(Self::as_select())
            .into_boxed();
        if let Some(name) = name {
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Ok(None); // neither slug nor id; and PostgreSQL refuses NUL
            }
            query = match Uuid::parse_str(name) {
                Ok(id) => query.filter(assistants::id.eq(id)),
                Err(_) => query.filter(assistants::slug.eq(name.to_owned())),
            };
        }
        query.first(conn).await.optional()
    }

    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(assistants::table).values(self).execute(conn).await?;
        Ok(())
    }
}
