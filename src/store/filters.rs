//! What tenants keep out of questions and answers.

use super::Conn;
use super::schema::filters;
use crate::types::{AssistantId, FilterId, TenantId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = filters, treat_none_as_null = true)]
pub struct Filter {
    pub tenant_id: TenantId,
    pub id: FilterId,
    pub name: String,
    /// input or output.
    pub stage: String,
    pub pattern: String,
    /// block or redact.
    pub action: String,
    /// For the reader, or in place of what matches.
    pub text: String,
    /// `None`: whoever answers.
    pub assistant_id: Option<AssistantId>,
    pub created_at: DateTime<Utc>,
}

impl Filter {
    /// In the order in which they were made.
    pub async fn list(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<Self>> {
        filters::table
            .filter(filters::tenant_id.eq(tenant))
            .order(filters::id)
            .select(Self::as_select())
            .load(conn)
            .await
    }

    /// Locked until the transaction ends.
    pub async fn lock(
        conn: &mut Conn,
        tenant: TenantId,
        id: FilterId,
    ) -> QueryResult<Option<Self>> {
        let row = filters::table.find((tenant, id)).select(Self::as_select());
        row.for_update().first(conn).await.optional()
    }

    /// How many a tenant has.
    pub async fn count(conn: &mut Conn, tenant: TenantId) -> QueryResult<i64> {
        filters::table.filter(filters::tenant_id.eq(tenant)).count().get_result(conn).await
    }

    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(filters::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// In place of what it was.
    pub async fn save(&self, conn: &mut Conn) -> QueryResult<()> {
        let row = filters::table.find((self.tenant_id, self.id));
        diesel::update(row).set(self).execute(conn).await?;
        Ok(())
    }

    pub async fn delete(&self, conn: &mut Conn) -> QueryResult<()> {
        let row = filters::table.find((self.tenant_id, self.id));
        diesel::delete(row).execute(conn).await?;
        Ok(())
    }
}
