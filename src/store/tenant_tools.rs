//! Tools that tenants define. Their headers are sealed, and opened only where a request is made.

use super::Conn;
use super::schema::tenant_tools;
use crate::types::{TenantId, ToolId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;

#[derive(Clone, Debug, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = tenant_tools, treat_none_as_null = true)]
pub struct TenantTool {
    pub tenant_id: TenantId,
    pub id: ToolId,
    pub name: String,
    pub description: String,
    /// A JSON schema of an object.
    pub parameters: Value,
    pub method: String,
    /// A template.
    pub url: String,
    pub header_names: Vec<Option<String>>,
    /// Names and values as JSON, sealed.
    pub headers: Option<Vec<u8>>,
    pub needs_approval: bool,
    pub created_at: DateTime<Utc>,
}

impl TenantTool {
    /// By name.
    pub async fn list(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<Self>> {
        tenant_tools::table
            .filter(tenant_tools::tenant_id.eq(tenant))
            .order(tenant_tools::name)
            .select(Self::as_select())
            .load(conn)
            .await
    }

    /// Those of these names.
    pub async fn named(
        conn: &mut Conn,
        tenant: TenantId,
        names: &[&str],
    ) -> QueryResult<Vec<Self>> {
        tenant_tools::table
            .filter(tenant_tools::tenant_id.eq(tenant).and(tenant_tools::name.eq_any(names)))
            .order(tenant_tools::name)
            .select(Self::as_select())
            .load(conn)
            .await
    }

    /// Locked until the transaction ends.
    pub async fn lock(conn: &mut Conn, tenant: TenantId, id: ToolId) -> QueryResult<Option<Self>> {
        let row = tenant_tools::table.find((tenant, id)).select(Self::as_select());
        row.for_update().first(conn).await.optional()
    }

    /// How many a tenant has.
    pub async fn count(conn: &mut Conn, tenant: TenantId) -> QueryResult<i64> {
        tenant_tools::table
            .filter(tenant_tools::tenant_id.eq(tenant))
            .count()
            .get_result(conn)
            .await
    }

    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(tenant_tools::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// In place of what it was.
    pub async fn save(&self, conn: &mut Conn) -> QueryResult<()> {
        let row = tenant_tools::table.find((self.tenant_id, self.id));
        diesel::update(row).set(self).execute(conn).await?;
        Ok(())
    }

    pub async fn delete(&self, conn: &mut Conn) -> QueryResult<()> {
        let row = tenant_tools::table.find((self.tenant_id, self.id));
        diesel::delete(row).execute(conn).await?;
        Ok(())
    }
}
