//! The models and routes that there are.

use super::route::{Candidate, Route};
use crate::store::DbError;
use crate::types::TenantId;
use std::sync::Arc;
use thiserror::Error;

/// Why a name stands for nothing.
#[derive(Debug, Error)]
pub enum RouteError {
    #[error("there is no model or route '{0}'")]
    Unknown(String),
    #[error("the model or route '{0}' is not allowed here")]
    NotAllowed(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Looks names up. Cheap to clone.
#[derive(Clone)]
pub struct Catalogue {
    default: Arc<Route>,
}

impl Catalogue {
    /// A catalogue of one model, which every name stands for.
    #[must_use]
    pub fn of(candidate: Candidate) -> Self {
        let candidates = vec![Arc::new(candidate)];
        let after_cut = super::AfterCut::Continue;
        Self { default: Arc::new(Route { name: "default".into(), candidates, after_cut }) }
    }

    /// What `name` (a route's, a model's id, or `None` for `default`) stands for at a tenant. Remembered for
    /// a few seconds.
    ///
    /// # Errors
    /// When there is no such model or route, when this tenant may not use it, or when the database cannot be
    /// asked and nothing is remembered.
    #[expect(clippy::unused_async, reason = "the database is not asked yet")]
    pub async fn resolve(
        &self,
        _tenant: TenantId,
        _name: Option<&str>,
    ) -> Result<Arc<Route>, RouteError> {
        Ok(Arc::clone(&self.default))
    }
}
