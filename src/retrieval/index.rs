//! A large tenant gets a partition of its own with an HNSW index; small ones share a partition that
//! is scanned exactly. One index shared by tenants would return other tenants' neighbours and then
//! filter them away: too few rows, or the wrong ones.

use crate::store::embeddings::{self, Partition};
use crate::store::{Db, DbError};
use crate::types::TenantId;
use thiserror::Error;

/// Chunks from which on a tenant has its own index (`benches/README.md` has the measurement).
pub const OWN_INDEX_FROM: i64 = 10_000;

/// Why the partition could not be made.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct IndexError(#[from] pub DbError);

impl From<diesel::result::Error> for IndexError {
    fn from(error: diesel::result::Error) -> Self {
        Self(error.into())
    }
}

/// Moves a tenant that has at least `threshold` vectors of a model into its own partition and indexes it.
/// Returns whether it did; doing it again does nothing. Searches go on meanwhile: the rows move in
/// one short transaction, the index is built in another.
///
/// # Errors
/// When the database fails; what was done until then stays valid.
pub async fn give_own_index(
    db: &Db,
    tenant: TenantId,
    model_id: i32,
    dimensions: usize,
    threshold: i64,
) -> Result<bool, IndexError> {
    let partition = Partition::of(tenant);
    let mut tx = db.tenant(tenant).await?;
    if partition.is_indexed(&mut tx, model_id).await? {
        return Ok(false);
    }
    let count = embeddings::count(&mut tx, tenant, model_id).await?;
    if count.all < threshold {
        return Ok(false);
    }
    tx.commit().await?;
    // An earlier model's vectors may have made the partition already.
    if count.shared > 0 {
        let mut tx = db.owner().await?;
        partition.create(&mut tx).await?;
        tx.commit().await?;
    }
    let mut tx = db.owner().await?;
    partition.index(&mut tx, model_id, dimensions).await?;
    tx.commit().await?;
    tracing::info!(tenant.id = %tenant, chunks = count.all, "A tenant got an index of its own");
    Ok(true)
}
