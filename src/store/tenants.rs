//! Customers of the operator.

use super::Conn;
use super::schema::tenants;
use crate::types::TenantId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = tenants)]
pub struct Tenant {
    #[diesel(column_name = tenant_id)]
    pub id: TenantId,
    pub slug: String,
    pub name: String,
    pub plan: String,
    pub allow_signup: bool,
    /// Whose days and months it is billed by, as in the IANA database.
    pub time_zone: String,
}

/// Whether the database knows this time zone.
pub async fn is_time_zone(conn: &mut Conn, name: &str) -> QueryResult<bool> {
    use diesel::sql_types::{Bool, Text};
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = Bool)]
        found: bool,
    }
    let sql = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1) AS found";
    let row: Found = diesel::sql_query(sql).bind::<Text, _>(name).get_result(conn).await?;
    Ok(row.found)
}

impl Tenant {
    /// The tenant of this transaction, or with a system transaction any.
    pub async fn find(conn: &mut Conn, id: TenantId) -> QueryResult<Option<Self>> {
        tenants::table.find(id).select(Self::as_select()).first(conn).await.optional()
    }

    /// Needs a system transaction: nobody is logged in yet.
    pub async fn find_by_slug(conn: &mut Conn, slug: &str) -> QueryResult<Option<Self>> {
        tenants::table
            .filter(tenants::slug.eq(slug))
            .select(Self::as_select())
            .first(conn)
            .await
            .optional()
    }

    /// Needs a system transaction; false when the slug is taken.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<bool> {
        let rows = diesel::insert_into(tenants::table)
            .values(self)
            .on_conflict(tenants::slug)
            .do_nothing()
            .execute(conn)
            .await?;
        Ok(rows == 1)
    }
}
