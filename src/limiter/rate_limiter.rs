//! GCRA cells keyed by tenant and by user, one set per plan: in memory, and with Redis the same rates
//! once more for all nodes together. Memory refuses first and costs nothing; while Redis is away it
//! is all there is.
//!
//! Changing a plan's numbers makes a new set and so starts with full cells; that is the price for
//! limits that take effect on the next request. Cells that are full again are swept.

use super::limits::{Headroom, Limited, PlanLimits};
use crate::cluster::{Cell, Cluster, Status, Taken};
use crate::types::Ctx;
use dashmap::DashMap;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter as Governor};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

type Cells = Governor<Uuid, DashMapStateStore<Uuid>, DefaultClock, StateInformationMiddleware>;

struct PolicyCells {
    policy: &'static str,
    limit: NonZeroU32,
    cells: Cells,
}

impl PolicyCells {
    fn per_minute(policy: &'static str, limit: NonZeroU32) -> Self {
        let cells = Governor::dashmap(Quota::per_minute(limit)).with_middleware();
        Self { policy, limit, cells }
    }

    fn take(&self, key: Uuid, n: NonZeroU32) -> Result<Headroom, Limited> {
        let limit = self.limit.get();
        // More than the cell holds could never be admitted: it costs the whole cell instead.
        let n = n.min(self.limit);
        match self.cells.check_key_n(&key, n) {
            Ok(Ok(state)) => Ok(Headroom {
                policy: self.policy,
                limit,
                remaining: state.remaining_burst_capacity(),
            }),
            Ok(Err(until)) => {
                let retry_after = until.wait_time_from(DefaultClock::default().now());
                Err(Limited { policy: self.policy, limit, retry_after })
            }
            Err(_beyond_capacity) => {
                Err(Limited { policy: self.policy, limit, retry_after: Duration::from_secs(60) })
            }
        }
    }

    fn sweep(&self) {
        self.cells.retain_recent();
        self.cells.shrink_to_fit();
    }
}

struct PlanCells {
    user_requests: PolicyCells,
    tenant_requests: PolicyCells,
    user_tokens: PolicyCells,
    tenant_tokens: PolicyCells,
}

/// The limiter. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter {
    cluster: Cluster,
    plans: Arc<DashMap<PlanLimits, Arc<PlanCells>>>,
}

impl RateLimiter {
    /// An empty limiter.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, plans: Arc::default() }
    }

    /// Admits one request that is estimated to use `tokens`, or says when to come back. Returns what
    /// is left of each limit, tightest scope first.
    ///
    /// # Errors
    /// With the first limit that is used up; user before tenant, so that one user's burst does not
    /// eat the tenant's cells.
    pub async fn admit(
        &self,
        ctx: Ctx,
        limits: PlanLimits,
        tokens: u32,
    ) -> Result<Vec<Headroom>, Limited> {
        let here = self.admit_here(ctx, limits, tokens)?;
        if self.cluster.status() == Status::Alone {
            return Ok(here);
        }
        let keys = [ctx.user.uuid(), ctx.tenant.uuid(), ctx.user.uuid(), ctx.tenant.uuid()];
        let costs = [1, 1, tokens.max(1), tokens.max(1)];
        let cell = |((headroom, key), cost): ((&Headroom, Uuid), u32)| Cell {
            name: format!("{}:{key}", headroom.policy),
            limit: headroom.limit,
            cost: cost.min(headroom.limit),
        };
        let cells: Vec<Cell> = here.iter().zip(keys).zip(costs).map(cell).collect();
        match self.cluster.take(&cells).await {
            Ok(Taken::Left(left)) => Ok(here
                .into_iter()
                .zip(left)
                .map(|(here, left)| Headroom { remaining: here.remaining.min(left), ..here })
                .collect()),
            Ok(Taken::Refused { place, retry_after }) => {
                let refused = here.get(place).or(here.first());
                let (policy, limit) = refused.map_or(("requests", 0), |h| (h.policy, h.limit));
                Err(Limited { policy, limit, retry_after })
            }
            Err(_away) => Ok(here),
        }
    }

    fn admit_here(
        &self,
        ctx: Ctx,
        limits: PlanLimits,
        tokens: u32,
    ) -> Result<Vec<Headroom>, Limited> {
        let cells = self.cells(limits);
        let one = NonZeroU32::MIN;
        let tokens = NonZeroU32::new(tokens).unwrap_or(one);
        let (user, tenant) = (ctx.user.uuid(), ctx.tenant.uuid());
        Ok(vec![
            cells.user_requests.take(user, one)?,
            cells.tenant_requests.take(tenant, one)?,
            cells.user_tokens.take(user, tokens)?,
            cells.tenant_tokens.take(tenant, tokens)?,
        ])
    }

    fn cells(&self, limits: PlanLimits) -> Arc<PlanCells> {
        if let Some(cells) = self.plans.get(&limits) {
            return Arc::clone(&cells);
        }
        let fresh = || {
            Arc::new(PlanCells {
                user_requests: PolicyCells::per_minute("user-requests", limits.user_requests),
                tenant_requests: PolicyCells::per_minute("tenant-requests", limits.tenant_requests),
                user_tokens: PolicyCells::per_minute("user-tokens", limits.user_tokens),
                tenant_tokens: PolicyCells::per_minute("tenant-tokens", limits.tenant_tokens),
            })
        };
        Arc::clone(&self.plans.entry(limits).or_insert_with(fresh))
    }

    /// Forgets cells that are full again: call it every minute or so.
    pub fn sweep(&self) {
        for plan in self.plans.iter() {
            for cells in
                [&plan.user_requests, &plan.tenant_requests, &plan.user_tokens, &plan.tenant_tokens]
            {
                cells.sweep();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Role, TenantId, UserId};

    fn limits(user: u32, tenant: u32) -> PlanLimits {
        let n = |n| NonZeroU32::new(n).unwrap();
        PlanLimits {
            tenant_requests: n(tenant),
            user_requests: n(user),
            tenant_tokens: n(100_000),
            user_tokens: n(1_000),
            tenant_turns: n(1),
            user_turns: n(1),
        }
    }

    fn user(tenant: TenantId) -> Ctx {
        Ctx { tenant, user: UserId::new(), role: Role::Member }
    }

    #[test]
    fn a_user_and_a_tenant_are_limited_apart() {
        let limiter = RateLimiter::new(Cluster::default());
        let (tenant, limits) = (TenantId::new(), limits(2, 3));
        let (anna, ben) = (user(tenant), user(tenant));
        assert_eq!(limiter.admit_here(anna, limits, 1).unwrap()[0].remaining, 1);
        assert!(limiter.admit_here(anna, limits, 1).is_ok());
        let refused = limiter.admit_here(anna, limits, 1).unwrap_err();
        assert_eq!((refused.policy, refused.limit), ("user-requests", 2));
        assert!(refused.retry_after <= Duration::from_secs(30));
        assert!(limiter.admit_here(ben, limits, 1).is_ok());
        assert_eq!(limiter.admit_here(ben, limits, 1).unwrap_err().policy, "tenant-requests");
        assert!(limiter.admit_here(user(TenantId::new()), limits, 1).is_ok());
    }

    #[test]
    fn tokens_are_a_limit_of_their_own_and_a_giant_can_pass_once() {
        let limiter = RateLimiter::new(Cluster::default());
        let anna = user(TenantId::new());
        assert!(limiter.admit_here(anna, limits(99, 99), 5_000).is_ok());
        assert_eq!(limiter.admit_here(anna, limits(99, 99), 1).unwrap_err().policy, "user-tokens");
    }
}
