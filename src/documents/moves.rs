//! Moving a tenant to another embedding model: begun, looked at, taken back. The work is `Mover`'s.

use crate::store::embedding_models::EmbeddingModel;
use crate::store::tenant_embeddings::{self as places, Place, Progress};
use crate::store::{Conn, Db, DbError};
use crate::types::TenantId;
use thiserror::Error;

/// Why a move was not begun or taken back.
#[derive(Debug, Error)]
pub enum MoveError {
    #[error("There is no embedding model '{0}', or none of it has so many dimensions.")]
    NoModel(String),
    #[error("The tenant's documents have vectors of this model already.")]
    There,
    #[error("The tenant is being moved to another model: let that end, or cancel it.")]
    Busy,
    #[error("Vectors of an earlier move are still being deleted: try again in a moment.")]
    Tidying,
    #[error("The tenant is not being moved.")]
    Still,
    #[error(transparent)]
    Db(#[from] DbError),
}

impl From<diesel::result::Error> for MoveError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Db(error.into())
    }
}

/// Where a tenant is.
#[derive(Clone, Debug)]
pub struct Moved {
    /// What answers; `None`: no document yet, the server's default.
    pub model: Option<EmbeddingModel>,
    pub next: Option<EmbeddingModel>,
    /// Vectors of a model that is not needed any more are being deleted.
    pub tidying: bool,
    pub progress: Progress,
}

/// The model that `word` names, with so many dimensions; it is made where one can be shortened.
///
/// # Errors
/// When there is none.
pub async fn find_model(
    db: &Db,
    word: &str,
    dimensions: Option<i32>,
) -> Result<EmbeddingModel, MoveError> {
    let mut tx = db.system().await?;
    let model = EmbeddingModel::named(&mut tx, word, dimensions).await?;
    tx.commit().await?;
    model.ok_or_else(|| MoveError::NoModel(word.to_owned()))
}

/// Begins to move a tenant, or tries again what was given up; says how many documents were queued, 0 for a
/// tenant that has none and is there at once. `tx` is the tenant's.
///
/// # Errors
/// When it cannot be; nothing is changed then.
pub async fn start_move(
    tx: &mut Conn,
    tenant: TenantId,
    model: &EmbeddingModel,
) -> Result<usize, MoveError> {
    let Some(place) = Place::lock(tx, tenant).await? else {
        return match Place::settle(tx, tenant, model.id).await? {
            place if place.model_id == model.id => Ok(0),
            _ => Err(MoveError::Busy), // its first document came this moment
        };
    };
    match place {
        Place { next_model_id: Some(next), .. } if next != model.id => return Err(MoveError::Busy),
        Place { old_model_id: Some(_), .. } => return Err(MoveError::Tidying),
        Place { model_id, .. } if model_id == model.id => return Err(MoveError::There),
        _ => {}
    }
    Place { next_model_id: Some(model.id), ..place }.put(tx, tenant).await?;
    Ok(places::queue(tx, tenant, model.id, true).await?)
}

/// Takes a move back: the tenant stays where it is, new vectors are deleted. `tx` is the tenant's.
///
/// # Errors
/// When there is none.
pub async fn cancel_move(tx: &mut Conn, tenant: TenantId) -> Result<(), MoveError> {
    let place = Place::lock(tx, tenant).await?.ok_or(MoveError::Still)?;
    if place.next_model_id.is_none() {
        return Err(MoveError::Still);
    }
    let back = Place { next_model_id: None, old_model_id: place.next_model_id, ..place };
    back.put(tx, tenant).await?;
    Ok(places::forget_jobs(tx, tenant).await?)
}

/// Where a tenant is, and how far its move.
///
/// # Errors
/// When the database fails.
pub async fn move_status(tx: &mut Conn, tenant: TenantId) -> Result<Moved, DbError> {
    let place = Place::find(tx, tenant).await?;
    let all = EmbeddingModel::list(tx).await?;
    let find = |id: Option<i32>| all.iter().find(|model| Some(model.id) == id).cloned();
    Ok(Moved {
        model: find(place.map(|place| place.model_id)),
        next: find(place.and_then(|place| place.next_model_id)),
        tidying: place.is_some_and(|place| place.old_model_id.is_some()),
        progress: places::progress(tx, tenant).await?,
    })
}
