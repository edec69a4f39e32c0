//! Uploaded documents and how far their ingestion is.

use super::Conn;
use super::schema::documents;
use crate::types::{DocumentId, TenantId, UserId};
use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = documents)]
pub struct Document {
    pub tenant_id: TenantId,
    pub id: DocumentId,
    pub user_id: UserId,
    pub name: String,
    pub media_type: String,
    pub bytes: i64,
    /// queued, processing, ready or failed.
    pub status: String,
    /// queued, extracting, chunking, embedding, indexing or done.
    pub stage: String,
    /// 0 to 1.
    pub progress: f32,
    pub pages: Option<i32>,
    pub chunks: Option<i32>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub collection: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = documents)]
pub struct NewDocument<'a> {
    pub tenant_id: TenantId,
    pub id: DocumentId,
    pub user_id: UserId,
    pub name: &'a str,
    pub media_type: &'a str,
    pub bytes: i64,
    pub sha256: &'a [u8],
    pub collection: Option<&'a str>,
}

impl NewDocument<'_> {
    /// `None` when the tenant has the same bytes already.
    pub async fn insert(&self, conn: &mut Conn) -> QueryResult<Option<Document>> {
        diesel::insert_into(documents::table)
            .values(self)
            .on_conflict((documents::tenant_id, documents::sha256))
            .do_nothing()
            .returning(Document::as_returning())
            .get_result(conn)
            .await
            .optional()
    }
}

impl Document {
    pub async fn find(
        conn: &mut Conn,
        tenant: TenantId,
        id: DocumentId,
    ) -> QueryResult<Option<Self>> {
        documents::table.find((tenant, id)).select(Self::as_select()).first(conn).await.optional()
    }

    /// The same, locked: nobody can begin to quote it until this transaction ends.
    pub async fn lock(
        conn: &mut Conn,
        tenant: TenantId,
        id: DocumentId,
    ) -> QueryResult<Option<Self>> {
        let row = documents::table.find((tenant, id)).select(Self::as_select());
        row.for_update().first(conn).await.optional()
    }

    pub async fn find_by_sha256(
        conn: &mut Conn,
        tenant: TenantId,
        sha256: &[u8],
    ) -> QueryResult<Option<Self>> {
        documents::table
            .filter(documents::tenant_id.eq(tenant).and(documents::sha256.eq(sha256)))
            .select(Self::as_select())
            .first(conn)
            .await
            .optional()
    }

    /// Newest first, those before `before`; ids are UUIDv7, so they sort by time.
    pub async fn list(
        conn: &mut Conn,
        tenant: TenantId,
        before: Option<DocumentId>,
        limit: i64,
    ) -> QueryResult<Vec<Self>> {
        let mut query = documents::table
            .filter(documents::tenant_id.eq(tenant))
            .order(documents::id.desc())
            .limit(limit)
            .select(Self::as_select())
            .into_boxed();
        if let Some(before) = before {
            query = query.filter(documents::id.lt(before));
        }
        query.load(conn).await
    }

    /// Everything of the document goes with it, by foreign keys.
    pub async fn delete(conn: &mut Conn, tenant: TenantId, id: DocumentId) -> QueryResult<bool> {
        Ok(diesel::delete(documents::table.find((tenant, id))).execute(conn).await? == 1)
    }

    /// Moves a running ingestion on.
    pub async fn set_progress(
        conn: &mut Conn,
        tenant: TenantId,
        id: DocumentId,
        stage: &str,
        progress: f32,
    ) -> QueryResult<()> {
        diesel::update(documents::table.find((tenant, id)))
            .set((
                documents::status.eq("processing"),
                documents::stage.eq(stage),
                documents::progress.eq(progress),
                documents::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// The ingestion is complete: in the same transaction as its chunks.
    pub async fn set_ready(
        conn: &mut Conn,
        tenant: TenantId,
        id: DocumentId,
        pages: i32,
        chunks: i32,
    ) -> QueryResult<()> {
        diesel::update(documents::table.find((tenant, id)))
            .set((
                documents::status.eq("ready"),
                documents::stage.eq("done"),
                documents::progress.eq(1.0),
                documents::pages.eq(pages),
                documents::chunks.eq(chunks),
                documents::error_code.eq(None::<String>),
                documents::error_message.eq(None::<String>),
                documents::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// The ingestion ended without a result; `message` is a sentence for the person who uploaded.
    pub async fn set_failed(
        conn: &mut Conn,
        tenant: TenantId,
        id: DocumentId,
        code: &str,
        message: &str,
    ) -> QueryResult<()> {
        diesel::update(documents::table.find((tenant, id)))
            .set((
                documents::status.eq("failed"),
                documents::error_code.eq(code),
                documents::error_message.eq(message),
                documents::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }

    /// Back to the queue: the same bytes were uploaded again after a failure.
    pub async fn requeue(conn: &mut Conn, tenant: TenantId, id: DocumentId) -> QueryResult<()> {
        diesel::update(documents::table.find((tenant, id)))
            .set((
                documents::status.eq("queued"),
                documents::stage.eq("queued"),
                documents::progress.eq(0.0),
                documents::error_code.eq(None::<String>),
                documents::error_message.eq(None::<String>),
                documents::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }
}
