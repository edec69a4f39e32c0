//! The filters of tenants, remembered for a few seconds: a turn does not cost a query for them.

use super::moderation::Moderator;
use super::rules::Rules;
use crate::store::filters::Filter;
use crate::store::{Conn, DbError};
use crate::types::TenantId;
use dashmap::DashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const FRESH: Duration = Duration::from_secs(5);
const KEPT: Duration = Duration::from_secs(600);

/// Looks filters up, and knows whom to ask. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    known: Arc<DashMap<TenantId, (Instant, Arc<Rules>)>>,
    moderator: Option<Moderator>,
}

impl Guard {
    /// An empty memory.
    #[must_use]
    pub fn new(moderator: Option<Moderator>) -> Self {
        Self { known: Arc::default(), moderator }
    }

    /// Who is asked about questions; `None`: nobody.
    #[must_use]
    pub fn moderator(&self) -> Option<&Moderator> {
        self.moderator.as_ref()
    }

    /// The filters of a tenant, within a transaction of it.
    ///
    /// # Errors
    /// When the database cannot be asked: what was remembered may be too little.
    pub async fn rules_in(&self, conn: &mut Conn, tenant: TenantId) -> Result<Arc<Rules>, DbError> {
        let known = self.known.get(&tenant).map(|entry| entry.clone());
        let known = match known {
            Some((at, rules)) if at.elapsed() < FRESH => return Ok(rules),
            Some((_, rules)) => rules,
            None => Arc::default(),
        };
        let rows = Filter::list(conn, tenant).await?;
        let rules = Arc::new(Rules::new(rows, &known));
        self.known.insert(tenant, (Instant::now(), Arc::clone(&rules)));
        Ok(rules)
    }

    /// Something was changed: this node reads it at once, others within seconds.
    pub fn changed(&self, tenant: TenantId) {
        self.known.remove(&tenant);
    }

    /// Forgets what is old.
    pub fn sweep(&self) {
        self.known.retain(|_, (at, _)| at.elapsed() < KEPT);
    }
}
