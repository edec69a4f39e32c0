//! Plans: rate limits and quotas that the operator sells.

use super::Conn;
use super::schema::{plans, tenants};
use crate::types::TenantId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// A plan's rate limits, per minute, and how many turns may run at once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Queryable, Selectable)]
#[diesel(table_name = plans)]
pub struct Plan {
    pub name: String,
    pub tenant_requests_per_minute: i32,
    pub user_requests_per_minute: i32,
    pub tenant_tokens_per_minute: i32,
    pub user_tokens_per_minute: i32,
    pub tenant_concurrent_turns: i32,
    pub user_concurrent_turns: i32,
}

impl Plan {
    /// The plan a tenant is on.
    pub async fn of(conn: &mut Conn, tenant: TenantId) -> QueryResult<Self> {
        plans::table
            .inner_join(tenants::table)
            .filter(tenants::tenant_id.eq(tenant))
            .select(Self::as_select())
            .first(conn)
            .await
    }

    pub async fn exists(conn: &mut Conn, name: &str) -> QueryResult<bool> {
        diesel::select(diesel::dsl::exists(plans::table.find(name))).get_result(conn).await
    }
}
