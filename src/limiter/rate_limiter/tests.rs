//! Time stands still here until it is moved.

use super::*;
use crate::types::{ApiKeyId, KeyCtx, Role, Scopes, TenantId, UserId};
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
    Ctx::new(tenant, UserId::new(), Role::Member)
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
    let requests = |limits: PlanLimits| limits.policies(anna)[0].0;
    let known = |limits| limiter.sets.contains_key(&requests(limits));
    assert!(known(old) && known(new));
    advance(Duration::from_secs(2)).await;
    limiter.sweep();
    assert!(!known(old) && known(new));
    let held = limiter.cells(requests(new));
    advance(Duration::from_secs(60)).await;
    limiter.sweep();
    assert_eq!(limiter.sets.len(), 1, "somebody is about to charge it");
    drop(held);
    limiter.sweep();
    assert!(limiter.sets.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_has_limits_of_its_own_below_its_users() {
    let limiter = RateLimiter::new(Cluster::default());
    let (person, limits) = (somebody(TenantId::new()), limits(3, 99));
    let key = |requests, tokens| KeyCtx {
        id: ApiKeyId::new(),
        scopes: Scopes::of_role(Role::Member),
        requests_per_minute: NonZeroU32::new(requests),
        tokens_per_minute: NonZeroU32::new(tokens),
    };
    let tight = Ctx { key: Some(key(1, 10)), ..person };
    let loose = Ctx { key: Some(key(0, 0)), ..person };
    assert_eq!(left(&limiter, tight, limits).await, [1, 3, 99, 10, 1_000, 100_000]);
    let charge = limiter.admit(tight, limits, 400).await.ok().unwrap();
    assert_eq!(left(&limiter, tight, limits).await, [0, 2, 98, 0, 600, 99_600]);
    charge.settle(4).await;
    assert_eq!(left(&limiter, tight, limits).await, [0, 2, 98, 6, 996, 99_996]);
    let refused = limiter.admit(tight, limits, 1).await.err().unwrap();
    assert_eq!((refused.policy, refused.retry_after), ("key-requests", Duration::from_secs(60)));
    for _ in 0..2 {
        limiter.admit(loose, limits, 1).await.ok().unwrap().settle(1).await;
    }
    assert_eq!(limiter.admit(loose, limits, 1).await.err().unwrap().policy, "user-requests");
}
