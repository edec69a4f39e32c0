//! Cells keyed by tenant, by user and by API key, one set per limit: in memory, and with Redis the same
//! rates once more for all nodes together. Memory refuses first and costs nothing; while Redis is away it
//! is all there is.
//!
//! Changing a limit's number makes a new set and so starts with full cells; that is the price for
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

/// The limiter. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter {
    cluster: Cluster,
    sets: Arc<DashMap<Policy, Arc<Cells>>>,
}

/// One of the limits that a request counts against: whose cell it is, among which.
struct Share {
    cells: Arc<Cells>,
    whose: Uuid,
}

impl Share {
    fn policy(&self) -> Policy {
        self.cells.policy
    }

    /// The cell in Redis.
    fn shared(&self, cost: i64) -> Cell {
        let Policy { name, limit } = self.policy();
        Cell { name: format!("{name}:{}", self.whose), limit: limit.get(), cost }
    }

    /// The cell in Redis, to be charged `used` instead of `charged`.
    fn difference(&self, charged: u32, used: u32) -> Cell {
        let policy = self.policy();
        let by = i64::from(policy.cost(used)) - i64::from(policy.cost(charged));
        self.shared(if policy.of_tokens() { by } else { 0 })
    }

    /// How long it takes until the cell in memory is full.
    fn here(&self) -> Duration {
        self.cells.until_full(self.whose)
    }
}

/// The first limit that refused, and when none of them would.
fn refusal(shares: &[Share], until_full: &[Duration], tokens: u32, place: usize) -> Limited {
    let waits = shares.iter().zip(until_full);
    let waits =
        waits.map(|(share, left)| share.policy().wait(*left, share.policy().charge(tokens)));
    let (policy, limit) = shares
        .get(place)
        .map_or(("requests", 0), |share| (share.policy().name, share.policy().limit.get()));
    Limited { policy, limit, retry_after: waits.max().unwrap_or_default() }
}

/// Gives back what the first cells were charged for a request that another one refused.
fn untake_here(shares: &[Share], tokens: u32, first: usize) {
    for share in shares.iter().take(first) {
        share.cells.correct(share.whose, share.policy().charge(tokens), 0);
    }
}

fn take_here(shares: &[Share], tokens: u32) -> Result<(), Limited> {
    for (place, share) in shares.iter().enumerate() {
        if !share.cells.take(share.whose, share.policy().charge(tokens)) {
            untake_here(shares, tokens, place);
            let until_full: Vec<_> = shares.iter().map(Share::here).collect();
            return Err(refusal(shares, &until_full, tokens, place));
        }
    }
    Ok(())
}

fn correct_here(shares: &[Share], charged: u32, used: u32) {
    for share in shares.iter().filter(|share| share.policy().of_tokens()) {
        share.cells.correct(share.whose, charged, used);
    }
}

impl RateLimiter {
    /// An empty limiter.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, sets: Arc::default() }
    }

    /// Admits one request that is estimated to use `tokens`, or says when to come back. All limits
    /// are charged, or none is.
    ///
    /// # Errors
    /// With the first limit that is used up; key before user before tenant, so that one user's burst
    /// does not eat the tenant's cells.
    pub async fn admit(
        &self,
        ctx: Ctx,
        limits: PlanLimits,
        tokens: u32,
    ) -> Result<Charge, Limited> {
        let shares = self.shares(ctx, limits);
        take_here(&shares, tokens)?;
        // From here on: whoever leaves while Redis is asked gets it back.
        let mut charge = Charge { limiter: self.clone(), ctx, limits, tokens: Some(tokens) };
        match self.take_shared(&shares, |policy| policy.charge(tokens).into()).await {
            Some(Taken { refused: Some(place), until_full }) => {
                charge.tokens = None;
                untake_here(&shares, tokens, until_full.len());
                Err(refusal(&shares, &until_full, tokens, place))
            }
            _ => Ok(charge),
        }
    }

    /// `None` without Redis, and while it is away: memory is all there is then.
    async fn take_shared(&self, shares: &[Share], cost: impl Fn(Policy) -> i64) -> Option<Taken> {
        if self.cluster.status() == Status::Alone {
            return None;
        }
        let cells: Vec<Cell> =
            shares.iter().map(|share| share.shared(cost(share.policy()))).collect();
        self.cluster.take(&cells).await.ok()
    }

    /// What is left of each limit, key before user before tenant; nothing is charged for asking.
    pub async fn headroom(&self, ctx: Ctx, limits: PlanLimits) -> Vec<Headroom> {
        let shares = self.shares(ctx, limits);
        let until_full = match self.take_shared(&shares, |_| 0).await {
            Some(Taken { until_full, .. }) => until_full,
            None => shares.iter().map(Share::here).collect(),
        };
        shares.iter().zip(until_full).map(|(share, left)| share.policy().headroom(left)).collect()
    }

    /// Who was charged for some tokens used others.
    pub(super) async fn correct(&self, ctx: Ctx, limits: PlanLimits, charged: u32, used: u32) {
        let shares = self.shares(ctx, limits);
        correct_here(&shares, charged, used);
        if self.cluster.status() != Status::Alone && charged != used {
            let cells: Vec<Cell> =
                shares.iter().map(|share| share.difference(charged, used)).collect();
            // Away: its cells fill by themselves, whatever was charged.
            drop(self.cluster.correct(&cells).await);
        }
    }

    /// A charge came to nothing; nobody waits until all nodes know.
    pub(super) fn give_back(&self, ctx: Ctx, limits: PlanLimits, charged: u32) {
        let shares = self.shares(ctx, limits);
        correct_here(&shares, charged, 0);
        if self.cluster.status() != Status::Alone {
            let cells: Vec<Cell> =
                shares.iter().map(|share| share.difference(charged, 0)).collect();
            self.cluster.correct_soon(&cells);
        }
    }

    fn shares(&self, ctx: Ctx, limits: PlanLimits) -> Vec<Share> {
        let share = |(policy, whose)| Share { cells: self.cells(policy), whose };
        limits.policies(ctx).into_iter().map(share).collect()
    }

    fn cells(&self, policy: Policy) -> Arc<Cells> {
        if let Some(cells) = self.sets.get(&policy) {
            return Arc::clone(&cells);
        }
        let fresh = || Arc::new(Cells::new(policy));
        Arc::clone(&self.sets.entry(policy).or_insert_with(fresh))
    }

    /// Forgets cells that are full again, and sets without any: call it every minute or so.
    pub fn sweep(&self) {
        let sets: Vec<_> = self.sets.iter().map(|set| Arc::clone(&set)).collect();
        sets.iter().for_each(|set| set.sweep());
        drop(sets);
        // Who holds a set may be about to charge it; nobody finds it while it is looked at.
        let in_use = |set: &Arc<Cells>| Arc::strong_count(set) > 1;
        self.sets.retain(|_, set| in_use(set) || !set.is_empty());
    }
}

#[cfg(test)]
mod tests;
