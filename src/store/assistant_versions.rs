//! What assistants were published as. Written once, never changed.

use super::Conn;
use super::schema::{assistant_versions, users};
use crate::types::{AssistantId, Persona, TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = assistant_versions)]
pub struct NewVersion<'a> {
    pub tenant_id: TenantId,
    pub assistant_id: AssistantId,
    pub number: i32,
    pub body: &'a Persona,
    /// `None`: it came with the tenant.
    pub user_id: Option<UserId>,
    pub note: &'a str,
}

impl NewVersion<'_> {
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<()> {
        diesel::insert_into(assistant_versions::table).values(self).execute(conn).await?;
        Ok(())
    }
}

/// A version, with the address of who published it.
#[derive(Clone, Debug, Queryable)]
pub struct Version {
    pub number: i32,
    pub body: Persona,
    pub user_id: Option<UserId>,
    pub email: Option<String>,
    pub note: String,
    pub created_at: DateTime<Utc>,
}

/// Newest first, those before `before`.
pub async fn list(
    conn: &mut Conn,
    tenant: TenantId,
    assistant: AssistantId,
    before: Option<i32>,
    limit: i64,
) -> QueryResult<Vec<Version>> {
    use assistant_versions as v;
    let author = users::tenant_id.eq(v::tenant_id).and(users::id.nullable().eq(v::user_id));
    v::table
        .left_join(users::table.on(author))
        .filter(v::tenant_id.eq(tenant).and(v::assistant_id.eq(assistant)))
        .filter(v::number.lt(before.unwrap_or(i32::MAX)))
        .order(v::number.desc())
        .limit(limit)
        .select((v::number, v::body, v::user_id, users::email.nullable(), v::note, v::created_at))
        .load(conn)
        .await
}

/// What a version says.
pub async fn body(
    conn: &mut Conn,
    tenant: TenantId,
    assistant: AssistantId,
    number: i32,
) -> QueryResult<Option<Persona>> {
    let found = assistant_versions::table.find((tenant, assistant, number));
    found.select(assistant_versions::body).first(conn).await.optional()
}
