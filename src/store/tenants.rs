//! Customers of the operator.

use super::Conn;
use super::schema::tenants;
use super::sql::sql;
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
    let text = "SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1) AS found";
    let row: Found = sql(text).bind::<Text, _>(name).get_result(conn).await?;
    Ok(row.found)
}

/// What the clock on a tenant's wall says.
#[derive(QueryableByName)]
pub struct LocalTime {
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub date: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub time: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub weekday: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    pub zone: String,
}

/// Now, in the time zone of a tenant.
pub async fn local_time(conn: &mut Conn, tenant: TenantId) -> QueryResult<Option<LocalTime>> {
    sql("SELECT to_char(at, 'YYYY-MM-DD') AS date, to_char(at, 'HH24:MI') AS time,
                to_char(at, 'FMDay') AS weekday, time_zone AS zone
         FROM tenants, LATERAL (SELECT now() AT TIME ZONE time_zone AS at) AS local
         WHERE tenant_id = $1")
    .bind::<diesel::sql_types::Uuid, _>(tenant)
    .get_result(conn)
    .await
    .optional()
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
