//! Taking a file in: what it is is decided by its bytes, and the same bytes are one document.

use super::extract::{ExtractError, Format};
use super::progress::Progress;
use crate::jobs::Queue;
use crate::store::documents::{Document, NewDocument};
use crate::store::{Conn, Db, DbError, blobs, jobs};
use crate::types::{Ctx, DocumentId, JobId};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The largest file taken.
pub const MAX_BYTES: usize = 25 << 20;

/// Why a file was not taken.
#[derive(Debug, Error)]
pub enum UploadError {
    #[error("this role may not upload")]
    Forbidden,
    #[error("the file is empty")]
    Empty,
    #[error("the file has more than {} MiB", MAX_BYTES >> 20)]
    TooLarge,
    #[error(transparent)]
    Unsupported(ExtractError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<diesel::result::Error> for UploadError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// A file that was taken.
pub enum Uploaded {
    /// Stored and queued.
    New(Document),
    /// The tenant had these bytes; queued again when ingesting them had failed.
    Known(Document),
}

/// Takes files in. Cheap to clone.
#[derive(Clone)]
pub struct Uploads {
    db: Db,
    queue: Queue,
    progress: Progress,
}

impl Uploads {
    /// Into `db` and onto `queue`.
    #[must_use]
    pub fn new(db: Db, queue: Queue, progress: Progress) -> Self {
        Self { db, queue, progress }
    }

    /// Stores a file, in a collection or in none, and queues its ingestion. A file that is there already
    /// stays where it is.
    ///
    /// # Errors
    /// When it is empty, too large, or nothing that can be read.
    pub async fn take(
        &self,
        ctx: Ctx,
        name: &str,
        bytes: &[u8],
        collection: Option<&str>,
    ) -> Result<Uploaded, UploadError> {
        if !ctx.chats() {
            return Err(UploadError::Forbidden);
        }
        if bytes.is_empty() {
            return Err(UploadError::Empty);
        }
        if bytes.len() > MAX_BYTES {
            return Err(UploadError::TooLarge);
        }
        let name = clean_name(name);
        let format = Format::sniff(bytes, &name).map_err(UploadError::Unsupported)?;
        let sha256 = Sha256::digest(bytes).to_vec();
        let new = NewDocument {
            tenant_id: ctx.tenant,
            id: DocumentId::new(),
            user_id: ctx.user,
            name: &name,
            media_type: format.media_type(),
            bytes: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            sha256: &sha256,
            collection,
        };
        let mut tx = self.db.tenant(ctx.tenant).await?;
        let uploaded = match new.insert(&mut tx).await? {
            Some(document) => {
                blobs::insert(&mut tx, ctx.tenant, document.id, bytes).await?;
                jobs::enqueue(&mut tx, ctx.tenant, JobId::new(), document.id).await?;
                Uploaded::New(document)
            }
            None => self.known(&mut tx, ctx, &sha256).await?,
        };
        tx.commit().await?;
        self.queue.wake();
        Ok(uploaded)
    }

    async fn known(&self, tx: &mut Conn, ctx: Ctx, sha256: &[u8]) -> Result<Uploaded, UploadError> {
        let found = Document::find_by_sha256(tx, ctx.tenant, sha256).await?;
        let mut document = found.ok_or(diesel::result::Error::NotFound)?;
        if document.status == "failed" {
            Document::requeue(tx, ctx.tenant, document.id).await?;
            jobs::enqueue(tx, ctx.tenant, JobId::new(), document.id).await?;
            self.progress.nudge(document.id);
            let again = Document::find(tx, ctx.tenant, document.id).await?;
            document = again.ok_or(diesel::result::Error::NotFound)?;
        }
        Ok(Uploaded::Known(document))
    }
}

/// The last part of a path, without what a header or a page could trip over.
fn clean_name(name: &str) -> String {
    let base = name.rsplit(['/', '\\']).next().unwrap_or_default();
    // Marks that turn the direction of text around make `exe.pdf` of `fdp.exe`.
    let harmless = |c: &char| {
        !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let clean: String = base.chars().filter(harmless).take(200).collect();
    let clean = clean.trim();
    if clean.is_empty() { "untitled".into() } else { clean.into() }
}

#[cfg(test)]
mod tests {
    use super::clean_name;

    #[test]
    fn names_lose_their_folders_and_control_characters() {
        assert_eq!(clean_name("../../etc/pass\nwd"), "passwd");
        assert_eq!(clean_name("C:\\Users\\me\\Ä b.pdf"), "Ä b.pdf");
        assert_eq!(clean_name("a\u{202e}fdp.exe"), "afdp.exe");
        assert_eq!(clean_name(" \0 "), "untitled");
        assert_eq!(clean_name(&"x".repeat(500)).len(), 200);
    }
}
