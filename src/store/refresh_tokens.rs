//! Refresh tokens: a family is one login, each token is used once.

use super::Conn;
use super::schema::refresh_tokens;
use crate::types::{TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = refresh_tokens)]
pub struct RefreshToken {
    pub tenant_id: TenantId,
    pub id: Uuid,
    pub user_id: UserId,
    pub family_id: Uuid,
    pub token_hash: Vec<u8>,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

impl RefreshToken {
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(refresh_tokens::table).values(self).execute(conn).await?;
        Ok(())
    }

    /// Locks the row, so that of two uses at once one comes second.
    pub async fn lock(conn: &mut Conn, tenant: TenantId, id: Uuid) -> QueryResult<Option<Self>> {
        refresh_tokens::table
            .find((tenant, id))
            .select(Self::as_select())
            .for_update()
            .first(conn)
            .await
            .optional()
    }

    pub async fn mark_used(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::update(refresh_tokens::table.find((self.tenant_id, self.id)))
            .set(refresh_tokens::used_at.eq(now))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Ends the login this token belongs to.
    pub async fn revoke_family(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::update(refresh_tokens::table)
            .filter(
                refresh_tokens::tenant_id
                    .eq(self.tenant_id)
                    .and(refresh_tokens::family_id.eq(self.family_id))
                    .and(refresh_tokens::revoked_at.is_null()),
            )
            .set(refresh_tokens::revoked_at.eq(now))
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// Forgets what expired; needs a system transaction.
pub async fn delete_expired(conn: &mut Conn) -> QueryResult<usize> {
    diesel::delete(refresh_tokens::table.filter(refresh_tokens::expires_at.lt(now)))
        .execute(conn)
        .await
}
