//! The plan a tenant is on, remembered for a few seconds: a changed plan takes effect without a
//! restart, and a turn does not cost a query for it.

use super::limits::PlanLimits;
use crate::store::plans::Plan;
use crate::store::{Db, DbError};
use crate::types::TenantId;
use dashmap::DashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FRESH: Duration = Duration::from_secs(5);
const KEPT: Duration = Duration::from_secs(600);

/// Looks plans up. Cheap to clone.
#[derive(Clone)]
pub struct Plans {
    db: Db,
    known: Arc<DashMap<TenantId, (Instant, PlanLimits)>>,
}

impl Plans {
    /// An empty memory.
    #[must_use]
    pub fn new(db: Db) -> Self {
        Self { db, known: Arc::default() }
    }

    /// The rate limits of a tenant.
    ///
    /// # Errors
    /// When the database cannot be asked and nothing is remembered.
    pub async fn limits_of(&self, tenant: TenantId) -> Result<PlanLimits, DbError> {
        let known = self.known.get(&tenant).map(|entry| *entry);
        if let Some((at, limits)) = known
            && at.elapsed() < FRESH
        {
            return Ok(limits);
        }
        match self.load(tenant).await {
            Ok(limits) => {
                self.known.insert(tenant, (Instant::now(), limits));
                Ok(limits)
            }
            // A limit is no bill: an old one is better than none.
            Err(error) => known.map(|(_, limits)| limits).ok_or(error),
        }
    }

    /// What is remembered, however old; nothing is asked.
    #[must_use]
    pub fn remembered(&self, tenant: TenantId) -> Option<PlanLimits> {
        self.known.get(&tenant).map(|entry| entry.1)
    }

    async fn load(&self, tenant: TenantId) -> Result<PlanLimits, DbError> {
        let mut tx = self.db.tenant(tenant).await?;
        let plan = Plan::of(&mut tx, tenant).await?;
        tx.commit().await?;
        let positive =
            |n: i32| NonZeroU32::new(u32::try_from(n).unwrap_or(1)).unwrap_or(NonZeroU32::MIN);
        Ok(PlanLimits {
            tenant_requests: positive(plan.tenant_requests_per_minute),
            user_requests: positive(plan.user_requests_per_minute),
            tenant_tokens: positive(plan.tenant_tokens_per_minute),
            user_tokens: positive(plan.user_tokens_per_minute),
            tenant_turns: positive(plan.tenant_concurrent_turns),
            user_turns: positive(plan.user_concurrent_turns),
        })
    }

    /// Forgets what is old.
    pub fn sweep(&self) {
        self.known.retain(|_, (at, _)| at.elapsed() < KEPT);
    }
}
