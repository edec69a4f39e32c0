//! Time stands still here until it is moved.

use super::*;
use crate::types::{Role, TenantId, UserId};
use std::num::NonZeroU32;
use tokio::time::advance;

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

fn somebody(tenant: TenantId) -> Ctx {
    Ctx { tenant, user: UserId::new(), role: Role::Member }
}

/// What is left of requests and tokens: user, tenant, user, tenant.
async fn left(limiter: &RateLimiter, ctx: Ctx, limits: PlanLimits) -> Vec<u32> {
    limiter.headroom(ctx, limits).await.into_iter().map(|headroom| headroom.remaining).collect()
}

#[tokio::test(start_paused = true)]
async fn a_user_and_a_tenant_are_limited_apart() {
    let limiter = RateLimiter::new(Cluster::default());
    let (tenant, limits) = (TenantId::new(), limits(2, 3));
    let (anna, ben) = (somebody(tenant), somebody(tenant));
    let admit = async |who| limiter.admit(who, limits, 1).await.map(drop);
    assert_eq!(admit(anna).await, Ok(()));
    assert_eq!(admit(anna).await, Ok(()));
    let refused = admit(anna).await.unwrap_err();
    assert_eq!((refused.policy, refused.limit), ("user-requests", 2));
    assert_eq!(refused.retry_after, Duration::from_secs(30));
    assert_eq!(admit(ben).await, Ok(()));
    assert_eq!(admit(ben).await.unwrap_err().policy, "tenant-requests");
    assert_eq!(left(&limiter, ben, limits).await[..2], [1, 0], "a refusal charges nothing");
    assert_eq!(admit(somebody(TenantId::new())).await, Ok(()));
    advance(Duration::from_secs(30)).await;
    assert_eq!(admit(anna).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn tokens_are_a_limit_of_their_own_and_a_giant_can_pass_once() {
    let limiter = RateLimiter::new(Cluster::default());
    let (anna, limits) = (somebody(TenantId::new()), limits(99, 99));
    let giant = limiter.admit(anna, limits, 5_000).await;
    assert!(giant.is_ok());
    let refused = limiter.admit(anna, limits, 1).await.err().unwrap();
    assert_eq!((refused.policy, refused.retry_after), ("user-tokens", Duration::from_millis(60)));
}

#[tokio::test(start_paused = true)]
async fn what_a_turn_did_not_use_is_given_back_and_what_it_used_more_is_taken() {
    let limiter = RateLimiter::new(Cluster::default());
    let (anna, limits) = (somebody(TenantId::new()), limits(99, 99));
    let charge = limiter.admit(anna, limits, 900).await.ok().unwrap();
    assert_eq!(left(&limiter, anna, limits).await, [98, 98, 100, 99_100]);
    charge.settle(200).await;
    assert_eq!(left(&limiter, anna, limits).await, [98, 98, 800, 99_800]);
    drop(limiter.admit(anna, limits, 800).await.ok().unwrap());
    assert_eq!(left(&limiter, anna, limits).await, [97, 97, 800, 99_800], "it never ran");
    limiter.admit(anna, limits, 800).await.ok().unwrap().settle(1_000_000).await;
    assert_eq!(left(&limiter, anna, limits).await, [96, 96, 0, 0], "at most a whole cell each");
    let next = limiter.headroom(anna, limits).await[2].next;
    assert_eq!(next, Duration::from_millis(12_060), "200 are owed");
    let wait = limiter.admit(anna, limits, 1).await.err().unwrap().retry_after;
    assert_eq!(wait, next);
    advance(wait).await;
    assert!(limiter.admit(anna, limits, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_has_not_come_for_a_minute_is_forgotten_and_so_is_a_plan_without_anybody() {
    let limiter = RateLimiter::new(Cluster::default());
    let (old, new) = (limits(10, 10), limits(20, 20));
    let anna = somebody(TenantId::new());
    drop(limiter.admit(anna, old, 1).await);
    advance(Duration::from_secs(4)).await;
    drop(limiter.admit(anna, new, 1).await);
    limiter.sweep();
    assert_eq!(limiter.plans.len(), 2);
    advance(Duration::from_secs(2)).await;
    limiter.sweep();
    assert!(limiter.plans.contains_key(&new) && limiter.plans.len() == 1);
    let held = limiter.cells(new);
    advance(Duration::from_secs(60)).await;
    limiter.sweep();
    assert_eq!(limiter.plans.len(), 1, "somebody is about to charge it");
    drop(held);
    limiter.sweep();
    assert!(limiter.plans.is_empty());
}
