//! The limits of a plan and what is left of them.

use std::num::NonZeroU32;
use std::time::Duration;

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

/// What is left of one limit after an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// user-requests, tenant-requests, user-tokens or tenant-tokens.
    pub policy: &'static str,
    pub limit: u32,
    pub remaining: u32,
}

/// A refusal: which limit, and when the same request would be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    pub policy: &'static str,
    pub limit: u32,
    pub retry_after: Duration,
}
