//! The limits of a plan and of a key, what is left of them, and the arithmetic of a cell.
//!
//! All that is known of a cell is how long it takes until it is full again: it is empty when that is
//! a minute, and in debt when it is more.

use crate::types::Ctx;
use std::num::NonZeroU32;
use std::time::Duration;
use uuid::Uuid;

/// What a full cell holds is what comes in so much time.
const WINDOW: Duration = Duration::from_secs(60);

/// Per minute, for a tenant as a whole and for each of its users; and how many turns may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanLimits {
    pub tenant_requests: NonZeroU32,
    pub user_requests: NonZeroU32,
    pub tenant_tokens: NonZeroU32,
    pub user_tokens: NonZeroU32,
    pub tenant_turns: NonZeroU32,
    pub user_turns: NonZeroU32,
}

impl PlanLimits {
    /// What a request of this caller counts against, and whose it is: key before user before tenant, so
    /// that the tighter scope refuses first.
    pub(super) fn policies(&self, ctx: Ctx) -> Vec<(Policy, Uuid)> {
        let (user, tenant) = (ctx.user.uuid(), ctx.tenant.uuid());
        let of_key = |name, limit: Option<NonZeroU32>| {
            let key = ctx.key.map(|key| key.id.uuid());
            Some((Policy { name, limit: limit? }, key?))
        };
        [
            of_key("key-requests", ctx.key.and_then(|key| key.requests_per_minute)),
            Some((Policy { name: "user-requests", limit: self.user_requests }, user)),
            Some((Policy { name: "tenant-requests", limit: self.tenant_requests }, tenant)),
            of_key("key-tokens", ctx.key.and_then(|key| key.tokens_per_minute)),
            Some((Policy { name: "user-tokens", limit: self.user_tokens }, user)),
            Some((Policy { name: "tenant-tokens", limit: self.tenant_tokens }, tenant)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A limit per minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Policy {
    pub(super) name: &'static str,
    pub(super) limit: NonZeroU32,
}

impl Policy {
    /// Whether tokens are counted; else requests.
    pub(super) fn of_tokens(self) -> bool {
        self.name.ends_with("-tokens")
    }

    /// What a request costs that is estimated to use `tokens`.
    pub(super) fn charge(self, tokens: u32) -> u32 {
        if self.of_tokens() { self.cost(tokens.max(1)) } else { 1 }
    }

    /// What a cell is charged for `n`. More than it holds could never be admitted: that costs the
    /// whole cell instead.
    pub(super) fn cost(self, n: u32) -> u32 {
        n.min(self.limit.get())
    }

    /// How long it takes until so much has come back.
    pub(super) fn time_of(self, n: u32) -> Duration {
        (WINDOW / self.limit.get()).saturating_mul(n)
    }

    /// How long it takes until `n` would be admitted.
    pub(super) fn wait(self, until_full: Duration, n: u32) -> Duration {
        (until_full + self.time_of(self.cost(n))).saturating_sub(self.time_of(self.limit.get()))
    }

    pub(super) fn headroom(self, until_full: Duration) -> Headroom {
        let (limit, one) = (self.limit.get(), self.time_of(1));
        let taken = u32::try_from(until_full.as_nanos().div_ceil(one.as_nanos().max(1)));
        let remaining = limit.saturating_sub(taken.unwrap_or(limit));
        let next = match remaining < limit {
            true => until_full.saturating_sub(self.time_of(limit - remaining - 1)),
            false => Duration::ZERO,
        };
        Headroom { policy: self.name, limit, remaining, next }
    }
}

/// What is left of one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// `user-requests`, `tenant-requests`, `user-tokens`, `tenant-tokens`; and of a key that has limits
    /// `key-requests`, `key-tokens`.
    pub policy: &'static str,
    pub limit: u32,
    pub remaining: u32,
    /// When there will be one more; zero when there is no more to come.
    pub next: Duration,
}

/// A refusal: which limit, and when the same request would be admitted by all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    pub policy: &'static str,
    pub limit: u32,
    pub retry_after: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_and_when_more_comes() {
        let policy = Policy { name: "user-requests", limit: NonZeroU32::new(4).unwrap() };
        let at = |seconds| {
            let headroom = policy.headroom(Duration::from_secs(seconds));
            (headroom.remaining, headroom.next.as_secs())
        };
        assert_eq!([0, 15, 20, 60, 70].map(at), [(4, 0), (3, 15), (2, 5), (0, 15), (0, 25)]);
        let wait = |seconds, n| policy.wait(Duration::from_secs(seconds), n).as_secs();
        assert_eq!(
            [wait(0, 4), wait(60, 1), wait(50, 1), wait(70, 2), wait(0, 9)],
            [0, 15, 5, 40, 0]
        );
    }
}
