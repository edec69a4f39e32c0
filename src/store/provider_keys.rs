//! Tenants' own keys at providers: sealed, and opened only where a request is made.

use super::Conn;
use super::schema::provider_keys;
use crate::types::TenantId;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = provider_keys)]
pub struct ProviderKey {
    pub provider: String,
    pub sealed: Vec<u8>,
    /// The end of the key, so that people can tell which one it is.
    pub last_four: String,
    pub updated_at: DateTime<Utc>,
}

/// A key to be kept.
#[derive(Clone, Debug, Insertable, AsChangeset)]
#[diesel(table_name = provider_keys)]
pub struct NewProviderKey {
    pub tenant_id: TenantId,
    pub provider: String,
    pub sealed: Vec<u8>,
    pub last_four: String,
    pub updated_at: DateTime<Utc>,
}

impl ProviderKey {
    pub async fn list(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<Self>> {
        provider_keys::table
            .filter(provider_keys::tenant_id.eq(tenant))
            .order(provider_keys::provider)
            .select(Self::as_select())
            .load(conn)
            .await
    }

    /// False when there was none.
    pub async fn remove(conn: &mut Conn, tenant: TenantId, provider: &str) -> QueryResult<bool> {
        if provider.contains('\0') {
            return Ok(false); // which PostgreSQL refuses
        }
        let key = provider_keys::table.find((tenant, provider));
        Ok(diesel::delete(key).execute(conn).await? == 1)
    }
}

impl NewProviderKey {
    /// In place of the one that was there.
    pub async fn put(&self, conn: &mut Conn) -> QueryResult<()> {
        let insert = diesel::insert_into(provider_keys::table).values(self);
        let key = (provider_keys::tenant_id, provider_keys::provider);
        insert.on_conflict(key).do_update().set(self).execute(conn).await?;
        Ok(())
    }
}
