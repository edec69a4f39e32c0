//! Collections: names that documents are put under, and that searches are limited to.

use super::Conn;
use super::schema::documents;
use crate::types::{DocumentId, TenantId};
use diesel::dsl::{count_star, now, sum};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// Of the names in `$4`; part of a search in which `$1` is the tenant.
pub(super) const AMONG: &str =
    "document_id IN (SELECT id FROM documents WHERE tenant_id = $1 AND collection = ANY($4))";

/// The names in use, and how many documents each has.
pub async fn list(conn: &mut Conn, tenant: TenantId) -> QueryResult<Vec<(String, i64)>> {
    documents::table
        .filter(documents::tenant_id.eq(tenant))
        .filter(documents::collection.is_not_null())
        .group_by(documents::collection)
        .order(documents::collection)
        .select((documents::collection.assume_not_null(), count_star()))
        .load(conn)
        .await
}

/// How many chunks the documents in these collections have.
pub async fn chunks(mut conn: &Conn, tenant: TenantId, names: &[String]) -> QueryResult<i64> {
    let sum: Option<i64> = documents::table
        .filter(documents::tenant_id.eq(tenant).and(documents::collection.eq_any(names)))
        .select(sum(documents::chunks))
        .first(&mut conn)
        .await?;
    Ok(sum.unwrap_or(0))
}

/// Puts a document into a collection, or into none.
pub async fn put(
    conn: &mut Conn,
    tenant: TenantId,
    id: DocumentId,
    name: Option<&str>,
) -> QueryResult<()> {
    diesel::update(documents::table.find((tenant, id)))
        .set((documents::collection.eq(name), documents::updated_at.eq(now)))
        .execute(conn)
        .await?;
    Ok(())
}
