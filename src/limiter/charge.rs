//! What a turn was charged in tokens before anybody knew what it would use.

use super::limits::PlanLimits;
use super::rate_limiter::RateLimiter;
use crate::types::Ctx;

/// A charge that stands until it is settled. Dropping it gives all of it back: the turn was refused,
/// or nobody can say any more what it used.
pub struct Charge {
    pub(super) limiter: RateLimiter,
    pub(super) ctx: Ctx,
    pub(super) limits: PlanLimits,
    /// The estimate; none once it is settled.
    pub(super) tokens: Option<u32>,
}

impl Charge {
    /// The turn used so many tokens: what was charged too much is given back, what was charged too
    /// little is taken. When this returns, the next request meets the corrected limits on all nodes.
    pub async fn settle(mut self, used: u64) {
        if let Some(charged) = self.tokens.take() {
            let used = u32::try_from(used).unwrap_or(u32::MAX);
            self.limiter.correct(self.ctx, self.limits, charged, used).await;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(charged) = self.tokens.take() {
            self.limiter.give_back(self.ctx, self.limits, charged);
        }
    }
}
