//! Keys of programs, each of one user.

use super::Conn;
use super::schema::{api_keys, users};
use crate::types::{ApiKeyId, TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys)]
pub struct ApiKey {
    pub tenant_id: TenantId,
    pub id: ApiKeyId,
    pub user_id: UserId,
    pub name: String,
    pub scopes: Vec<Option<String>>,
    pub key_hash: Vec<u8>,
    pub hint: String,
    /// The secret before the last rotation.
    pub previous_hash: Option<Vec<u8>>,
    pub previous_until: Option<DateTime<Utc>>,
    pub requests_per_minute: Option<i32>,
    pub tokens_per_minute: Option<i32>,
    pub expires_at: Option<DateTime<Utc>>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
}

impl ApiKey {
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(api_keys::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// With the role of its user as it is now.
    pub async fn find(
        conn: &mut Conn,
        tenant: TenantId,
        id: ApiKeyId,
    ) -> QueryResult<Option<(Self, String)>> {
        api_keys::table
            .inner_join(
                users::table.on(users::tenant_id
                    .eq(api_keys::tenant_id)
                    .and(users::id.eq(api_keys::user_id))),
            )
            .filter(api_keys::tenant_id.eq(tenant).and(api_keys::id.eq(id)))
            .select((Self::as_select(), users::role))
            .first(conn)
            .await
            .optional()
    }

    /// Of a user, or of the whole tenant, newest first, with their users' addresses.
    pub async fn list(
        conn: &mut Conn,
        tenant: TenantId,
        user: Option<UserId>,
    ) -> QueryResult<Vec<(Self, String)>> {
        let all =
            api_keys::table
                .inner_join(users::table.on(
                    users::tenant_id.eq(api_keys::tenant_id).and(users::id.eq(api_keys::user_id)),
                ))
                .filter(api_keys::tenant_id.eq(tenant));
        let all = all.order((api_keys::created_at.desc(), api_keys::id.desc()));
        let all = all.select((Self::as_select(), users::email));
        match user {
            Some(user) => all.filter(api_keys::user_id.eq(user)).load(conn).await,
            None => all.load(conn).await,
        }
    }

    /// Gives it another secret; the one it has works until `until`.
    pub async fn rotate(
        &self,
        conn: &mut Conn,
        hash: &[u8],
        hint: &str,
        until: DateTime<Utc>,
    ) -> QueryResult<()> {
        diesel::update(api_keys::table.find((self.tenant_id, self.id)))
            .set((
                api_keys::previous_hash.eq(api_keys::key_hash.nullable()),
                api_keys::previous_until.eq(Some(until)),
                api_keys::key_hash.eq(hash),
                api_keys::hint.eq(hint),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// It was used now.
    pub async fn touch(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::update(api_keys::table.find((self.tenant_id, self.id)))
            .set(api_keys::last_used_at.eq(Some(Utc::now())))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// From now on nobody knows it.
    pub async fn delete(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::delete(api_keys::table.find((self.tenant_id, self.id))).execute(conn).await?;
        Ok(())
    }
}
