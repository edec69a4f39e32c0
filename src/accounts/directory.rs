//! Tenants by slug or id.

use super::error::AccountError;
use crate::store::tenants::Tenant;
use crate::store::{Db, DbError};
use crate::types::TenantId;
use dashmap::DashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FRESH: Duration = Duration::from_secs(60);

/// Finds tenants. Cheap to clone.
#[derive(Clone)]
pub struct Directory {
    db: Db,
    slugs: Arc<DashMap<String, (Instant, TenantId)>>,
}

impl Directory {
    /// An empty memory over `db`.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db, slugs: Arc::default() }
    }

    /// The tenant of a slug or id.
    ///
    /// # Errors
    /// `NoTenant` when there is none.
    pub async fn find(&self, name: &str) -> Result<Tenant, AccountError> {
        let mut tx = self.db.system().await?;
        let found = match name.parse::<TenantId>() {
            Ok(id) => Tenant::find(&mut tx, id).await?,
            Err(_) => Tenant::find_by_slug(&mut tx, name).await?,
        };
        tx.commit().await?;
        found.ok_or_else(|| AccountError::NoTenant(name.chars().take(80).collect()))
    }

    /// Whether `name` is the slug or id of `tenant`; slugs are remembered for a minute.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn names(&self, name: &str, tenant: TenantId) -> Result<bool, DbError> {
        if let Ok(id) = name.parse::<TenantId>() {
            return Ok(id == tenant);
        }
        if let Some(known) = self.slugs.get(name).filter(|known| known.0.elapsed() < FRESH) {
            return Ok(known.1 == tenant);
        }
        match self.find(name).await {
            Ok(found) => {
                self.slugs.insert(name.to_owned(), (Instant::now(), found.id));
                Ok(found.id == tenant)
            }
            Err(AccountError::Db(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }
}
