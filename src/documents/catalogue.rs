//! Reading and deleting documents. All of a tenant's users see all of its documents.

use crate::metering;
use crate::store::documents::Document;
use crate::store::{Db, DbError, blobs, chunks, collections, jobs, pages, segments};
use crate::types::{Ctx, DocumentId, TurnId};

/// One page's text.
#[derive(Clone, Debug)]
pub struct PageText {
    pub document: Document,
    pub page: i32,
    pub text: String,
}

/// What became of a wish to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone; these turns had cited it, and their logs are gone, too.
    Done(Vec<TurnId>),
    /// Somebody else's, and the user manages no documents.
    Forbidden,
    Missing,
}

/// What became of a wish to put a document elsewhere.
#[derive(Clone, Debug)]
pub enum Filing {
    Done(Box<Document>),
    /// Somebody else's, and the user manages no documents.
    Forbidden,
    Missing,
}

/// A tenant's documents. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    db: Db,
}

impl Catalogue {
    /// Over `db`.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// Newest first.
    ///
    /// # Errors
    /// When the database fails, here and below.
    pub async fn list(
        &self,
        ctx: Ctx,
        before: Option<DocumentId>,
        limit: i64,
    ) -> Result<Vec<Document>, DbError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let found = Document::list(&mut tx, ctx.tenant, before, limit).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// One document, if the tenant has it.
    pub async fn find(&self, ctx: Ctx, id: DocumentId) -> Result<Option<Document>, DbError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let found = Document::find(&mut tx, ctx.tenant, id).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// A page of a document, counted from 1.
    pub async fn page(
        &self,
        ctx: Ctx,
        id: DocumentId,
        page: i32,
    ) -> Result<Option<PageText>, DbError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let document = Document::find(&mut tx, ctx.tenant, id).await?;
        let text = pages::find(&mut tx, ctx.tenant, id, page).await?;
        tx.commit().await?;
        Ok(document.zip(text).map(|(document, text)| PageText { document, page, text }))
    }

    /// A piece of the uploaded bytes ([`blobs::PIECE`] each); `None` after the last.
    pub async fn piece(
        &self,
        ctx: Ctx,
        id: DocumentId,
        seq: i32,
    ) -> Result<Option<Vec<u8>>, DbError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let piece = blobs::piece(&mut tx, ctx.tenant, id, seq).await?;
        tx.commit().await?;
        Ok(piece)
    }

    /// The names of collections, and how many documents each has.
    ///
    /// # Errors
    /// When the database cannot be asked, here and below.
    pub async fn collections(&self, ctx: Ctx) -> Result<Vec<(String, i64)>, DbError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let found = collections::list(&mut tx, ctx.tenant).await?;
        tx.commit().await?;
        Ok(found)
    }

    /// Puts a document into a collection, or into none.
    pub async fn file_under(
        &self,
        ctx: Ctx,
        id: DocumentId,
        collection: Option<&str>,
    ) -> Result<Filing, DbError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let Some(document) = Document::lock(&mut tx, ctx.tenant, id).await? else {
            return Ok(Filing::Missing);
        };
        if document.user_id != ctx.user && !ctx.manages_documents() {
            return Ok(Filing::Forbidden);
        }
        collections::put(&mut tx, ctx.tenant, id, collection).await?;
        tx.commit().await?;
        let collection = collection.map(str::to_owned);
        Ok(Filing::Done(Box::new(Document { collection, ..document })))
    }

    /// Deletes a document with all that quotes it: bytes, pages, chunks, vectors, citations, and the
    /// logs of the turns that cited it.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn delete(&self, ctx: Ctx, id: DocumentId) -> Result<Deletion, DbError> {
        let mut tx = self.db.tenant(ctx.tenant).await?;
        jobs::lock_of_document(&mut tx, ctx.tenant, id).await?; // an ingestion that writes is waited for
        let Some(document) = Document::lock(&mut tx, ctx.tenant, id).await? else {
            return Ok(Deletion::Missing);
        };
        if document.user_id != ctx.user && !ctx.manages_documents() {
            return Ok(Deletion::Forbidden);
        }
        let quoting = segments::delete_quoting(&mut tx, ctx.tenant, id).await?;
        Document::delete(&mut tx, ctx.tenant, id).await?;
        chunks::count_words(&mut tx).await?;
        metering::release_document(&mut tx, ctx.tenant, document.user_id, id).await?;
        tx.commit().await?;
        Ok(Deletion::Done(quoting))
    }
}
