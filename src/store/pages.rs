//! The text of documents by page: what a citation opens.

use super::Conn;
use super::schema::document_pages;
use crate::types::{DocumentId, TenantId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Insertable)]
#[diesel(table_name = document_pages)]
pub struct NewPage<'a> {
    pub tenant_id: TenantId,
    pub document_id: DocumentId,
    pub page: i32,
    pub content: &'a str,
}

/// Puts `pages` in the place of whatever an earlier attempt left.
pub async fn replace(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
    pages: &[NewPage<'_>],
) -> QueryResult<()> {
    diesel::delete(document_pages::table.filter(
        document_pages::tenant_id.eq(tenant).and(document_pages::document_id.eq(document)),
    ))
    .execute(conn)
    .await?;
    for batch in pages.chunks(1000) {
        diesel::insert_into(document_pages::table).values(batch).execute(conn).await?;
    }
    Ok(())
}

/// The text of one page, counted from 1.
pub async fn find(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
    page: i32,
) -> QueryResult<Option<String>> {
    document_pages::table
        .find((tenant, document, page))
        .select(document_pages::content)
        .first(conn)
        .await
        .optional()
}
