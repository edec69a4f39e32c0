//! The breakers of this node: one for each model under each key that was used lately.

use super::breaker::{Breaker, Guarded, LastFailure};
use super::verdict::Others;
use crate::cluster::Cluster;
use crate::types::TenantId;
use chrono::{DateTime, Utc};
use dashmap::DashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// A breaker that nobody asked for this long is forgotten.
const KEPT: Duration = Duration::from_secs(3600);

/// How one stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerReport {
    pub provider: String,
    /// The provider's own name for it.
    pub model: String,
    /// Whose key it is; `None`: the server's.
    pub tenant: Option<TenantId>,
    /// `closed`, `open` or `half_open`.
    pub state: &'static str,
    /// In a row.
    pub failures: u32,
    /// Until it is tried again.
    pub wait: Option<Duration>,
    /// Code, text and time of the last failure.
    pub last: Option<(String, String, DateTime<Utc>)>,
}

#[derive(Clone, Default)]
pub(super) struct Breakers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    all: DashMap<Guarded, Arc<Breaker>>,
    others: OnceLock<Others>,
}

/// They are gone with their catalogue, whoever listens for them.
pub(super) struct WeakBreakers(Weak<Inner>);

impl WeakBreakers {
    pub(super) fn upgrade(&self) -> Option<Breakers> {
        self.0.upgrade().map(Breakers)
    }
}

impl Breakers {
    /// From now on they hear what other nodes were told, and tell it.
    pub(super) fn join(&self, cluster: &Cluster) {
        self.0.others.get_or_init(|| Others::join(cluster, self));
    }

    pub(super) fn downgrade(&self) -> WeakBreakers {
        WeakBreakers(Arc::downgrade(&self.0))
    }

    pub(super) fn of(&self, guarded: &Guarded) -> Arc<Breaker> {
        if let Some(breaker) = self.0.all.get(guarded) {
            return Arc::clone(&breaker);
        }
        let fresh = || Breaker::among(self.0.others.get().cloned(), guarded.clone());
        Arc::clone(&self.0.all.entry(guarded.clone()).or_insert_with(fresh))
    }

    /// All of them, in order.
    pub(super) fn report(&self) -> Vec<BreakerReport> {
        let report = |breaker: &Arc<Breaker>| {
            let (guarded, standing) = (breaker.guarded().clone(), breaker.standing());
            let said = |LastFailure { error, at }| (error.code().to_owned(), error.to_string(), at);
            BreakerReport {
                provider: guarded.provider,
                model: guarded.model,
                tenant: guarded.tenant,
                state: standing.state,
                failures: standing.failures,
                wait: standing.wait,
                last: standing.last.map(said),
            }
        };
        let mut all: Vec<_> = self.0.all.iter().map(|entry| report(entry.value())).collect();
        all.sort_by(|a, b| {
            (&a.provider, &a.model, a.tenant).cmp(&(&b.provider, &b.model, b.tenant))
        });
        all
    }

    pub(super) fn sweep(&self) {
        self.0.all.retain(|_, breaker| breaker.unused() < KEPT || Arc::strong_count(breaker) > 1);
    }
}
