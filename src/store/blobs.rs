//! The bytes of documents, in pieces: read and written without holding a whole file twice.

use super::Conn;
use super::schema::document_blobs;
use crate::types::{DocumentId, TenantId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// Bytes of a piece; the last one may be shorter.
pub const PIECE: usize = 1 << 20;

/// Stores the pieces of `bytes`.
pub async fn insert(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
    bytes: &[u8],
) -> QueryResult<()> {
    for (seq, piece) in (0_i32..).zip(bytes.chunks(PIECE)) {
        diesel::insert_into(document_blobs::table)
            .values((
                document_blobs::tenant_id.eq(tenant),
                document_blobs::document_id.eq(document),
                document_blobs::seq.eq(seq),
                document_blobs::data.eq(piece),
            ))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// One piece; `None` after the last.
pub async fn piece(
    conn: &mut Conn,
    tenant: TenantId,
    document: DocumentId,
    seq: i32,
) -> QueryResult<Option<Vec<u8>>> {
    document_blobs::table
        .find((tenant, document, seq))
        .select(document_blobs::data)
        .first(conn)
        .await
        .optional()
}

/// All bytes, for the extraction.
pub async fn read(conn: &mut Conn, tenant: TenantId, document: DocumentId) -> QueryResult<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut seq = 0;
    while let Some(part) = piece(conn, tenant, document, seq).await? {
        bytes.extend_from_slice(&part);
        seq += 1;
    }
    Ok(bytes)
}
