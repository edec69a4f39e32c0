//! People of a tenant.

use super::Conn;
use super::schema::users;
use crate::types::{Role, TenantId, UserId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = users)]
pub struct User {
    pub tenant_id: TenantId,
    pub id: UserId,
    /// Lower case.
    pub email: String,
    pub name: String,
    pub role: String,
}

impl User {
    /// The role; an unknown word (a newer program wrote it) may do the least.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.parse().unwrap_or(Role::Billing)
    }

    pub async fn find(conn: &mut Conn, tenant: TenantId, id: UserId) -> QueryResult<Option<Self>> {
        users::table.find((tenant, id)).select(Self::as_select()).first(conn).await.optional()
    }

    pub async fn find_by_email(
        conn: &mut Conn,
        tenant: TenantId,
        email: &str,
    ) -> QueryResult<Option<Self>> {
        users::table
            .filter(users::tenant_id.eq(tenant).and(users::email.eq(email)))
            .select(Self::as_select())
            .first(conn)
            .await
            .optional()
    }

    /// False when the address is taken.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<bool> {
        let rows = diesel::insert_into(users::table)
            .values(self)
            .on_conflict((users::tenant_id, users::email))
            .do_nothing()
            .execute(conn)
            .await?;
        Ok(rows == 1)
    }
}
