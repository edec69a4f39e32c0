//! Cells keyed by tenant and by user, one set per plan: in memory, and with Redis the same rates
//! once more for all nodes together. Memory refuses first and costs nothing; while Redis is away it
//! is all there is.
//!
//! Changing a plan's numbers makes a new set and so starts with full cells; that is the price for
//! limits that take effect on the next request. Cells that are full again are swept, and so are sets
//! that nobody uses any more.

use super::cells::Cells;
use super::charge::Charge;
use super::limits::{Headroom, Limited, PlanLimits, Policy};
use crate::cluster::{Cell, Cluster, Status, Taken};
use crate::types::Ctx;
use dashmap::DashMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// In the order of [`PlanLimits::policies`].
type Four<T> = [T; 4];

/// The limiter. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter {
    cluster: Cluster,
    plans: Arc<DashMap<PlanLimits, Arc<Four<Cells>>>>,
}

/// Whose each cell is.
fn keys(ctx: Ctx) -> Four<Uuid> {
    let (user, tenant) = (ctx.user.uuid(), ctx.tenant.uuid());
    [user, tenant, user, tenant]
}

/// What a request costs that is estimated to use `tokens`.
fn costs(limits: PlanLimits, tokens: u32) -> Four<u32> {
    let [.., user, tenant] = limits.policies();
    [1, 1, user.cost(tokens.max(1)), tenant.cost(tokens.max(1))]
}

/// What it costs in addition that it used others; negative when it used fewer.
fn difference(limits: PlanLimits, charged: u32, used: u32) -> Four<i64> {
    let by = |policy: Policy| i64::from(policy.cost(used)) - i64::from(policy.cost(charged));
    let [.., user, tenant] = limits.policies();
    [0, 0, by(user), by(tenant)]
}

/// The cells in Redis.
fn shared(ctx: Ctx, limits: PlanLimits, costs: Four<i64>) -> Vec<Cell> {
    let cells = limits.policies().into_iter().zip(keys(ctx)).zip(costs);
    let cell = |((policy, key), cost): ((Policy, Uuid), i64)| Cell {
        name: format!("{}:{key}", policy.name),
        limit: policy.limit.get(),
        cost,
    };
    cells.map(cell).collect()
}

/// The first limit that refused, and when none of them would.
fn refusal(limits: PlanLimits, until_full: &[Duration], tokens: u32, place: usize) -> Limited {
    let policies = limits.policies();
    let waits = policies.iter().zip(until_full).zip(costs(limits, tokens));
    let longest = waits.map(|((policy, left), cost)| policy.wait(*left, cost)).max();
    let (policy, limit) =
        policies.get(place).map_or(("requests", 0), |policy| (policy.name, policy.limit.get()));
    Limited { policy, limit, retry_after: longest.unwrap_or_default() }
}

impl RateLimiter {
    /// An empty limiter.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, plans: Arc::default() }
    }

    /// Admits one request that is estimated to use `tokens`, or says when to come back. All limits
    /// are charged, or none is.
    ///
    /// # Errors
    /// With the first limit that is used up; user before tenant, so that one user's burst does not
    /// eat the tenant's cells.
    pub async fn admit(
        &self,
        ctx: Ctx,
        limits: PlanLimits,
        tokens: u32,
    ) -> Result<Charge, Limited> {
        self.take_here(ctx, limits, tokens)?;
        // From here on: whoever leaves while Redis is asked gets it back.
        let mut charge = Charge { limiter: self.clone(), ctx, limits, tokens: Some(tokens) };
        match self.take_shared(ctx, limits, costs(limits, tokens).map(i64::from)).await {
            Some(Taken { refused: Some(place), until_full }) => {
                charge.tokens = None;
                self.untake_here(ctx, limits, tokens, until_full.len());
                Err(refusal(limits, &until_full, tokens, place))
            }
            _ => Ok(charge),
        }
    }

    /// `None` without Redis, and while it is away: memory is all there is then.
    async fn take_shared(&self, ctx: Ctx, limits: PlanLimits, costs: Four<i64>) -> Option<Taken> {
        if self.cluster.status() == Status::Alone {
            return None;
        }
        self.cluster.take(&shared(ctx, limits, costs)).await.ok()
    }

    fn take_here(&self, ctx: Ctx, limits: PlanLimits, tokens: u32) -> Result<(), Limited> {
        let cells = self.cells(limits);
        let asked = cells.iter().zip(keys(ctx)).zip(costs(limits, tokens));
        for (place, ((cells, key), cost)) in asked.enumerate() {
            if !cells.take(key, cost) {
                self.untake_here(ctx, limits, tokens, place);
                return Err(refusal(limits, &self.here(ctx, limits), tokens, place));
            }
        }
        Ok(())
    }

    /// Gives back what the first cells were charged for a request that another one refused.
    fn untake_here(&self, ctx: Ctx, limits: PlanLimits, tokens: u32, first: usize) {
        let cells = self.cells(limits);
        let asked = cells.iter().zip(keys(ctx)).zip(costs(limits, tokens));
        asked.take(first).for_each(|((cells, key), cost)| cells.correct(key, cost, 0));
    }

    /// What is left of each limit, user before tenant; nothing is charged for asking.
    pub async fn headroom(&self, ctx: Ctx, limits: PlanLimits) -> Vec<Headroom> {
        let until_full = match self.take_shared(ctx, limits, [0; 4]).await {
            Some(Taken { until_full, .. }) => until_full,
            None => self.here(ctx, limits),
        };
        let policies = limits.policies().into_iter();
        policies.zip(until_full).map(|(policy, left)| policy.headroom(left)).collect()
    }

    /// How long it takes until each cell in memory is full.
    fn here(&self, ctx: Ctx, limits: PlanLimits) -> Vec<Duration> {
        let cells = self.cells(limits);
        cells.iter().zip(keys(ctx)).map(|(cells, key)| cells.until_full(key)).collect()
    }

    /// Who was charged for some tokens used others.
    pub(super) async fn correct(&self, ctx: Ctx, limits: PlanLimits, charged: u32, used: u32) {
        self.correct_here(ctx, limits, charged, used);
        if self.cluster.status() != Status::Alone && charged != used {
            let cells = shared(ctx, limits, difference(limits, charged, used));
            // Away: its cells fill by themselves, whatever was charged.
            drop(self.cluster.correct(&cells).await);
        }
    }

    /// A charge came to nothing; nobody waits until all nodes know.
    pub(super) fn give_back(&self, ctx: Ctx, limits: PlanLimits, charged: u32) {
        self.correct_here(ctx, limits, charged, 0);
        if self.cluster.status() != Status::Alone {
            self.cluster.correct_soon(&shared(ctx, limits, difference(limits, charged, 0)));
        }
    }

    fn correct_here(&self, ctx: Ctx, limits: PlanLimits, charged: u32, used: u32) {
        let cells = self.cells(limits);
        let tokens = cells.iter().zip(keys(ctx)).skip(2);
        tokens.for_each(|(cells, key)| cells.correct(key, charged, used));
    }

    fn cells(&self, limits: PlanLimits) -> Arc<Four<Cells>> {
        if let Some(cells) = self.plans.get(&limits) {
            return Arc::clone(&cells);
        }
        let fresh = || Arc::new(limits.policies().map(Cells::new));
        Arc::clone(&self.plans.entry(limits).or_insert_with(fresh))
    }

    /// Forgets cells that are full again, and plans without any other: call it every minute or so.
    pub fn sweep(&self) {
        let sets: Vec<_> = self.plans.iter().map(|set| Arc::clone(&set)).collect();
        sets.iter().flat_map(|set| set.iter()).for_each(Cells::sweep);
        drop(sets);
        // Who holds a set may be about to charge it; nobody finds it while it is looked at.
        let in_use = |set: &Arc<Four<Cells>>| Arc::strong_count(set) > 1;
        self.plans.retain(|_, set| in_use(set) || !set.iter().all(Cells::is_empty));
    }
}

#[cfg(test)]
mod tests;
