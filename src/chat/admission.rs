//! How many turns run at once: of a person, of a tenant, on this node.
//!
//! Above the node's bound, requests wait for a moment, tenants taking turns, so that a busy one delays
//! itself and not the others. The queue has a bound, and so has the wait; then the asker is refused.

use super::accepted::Refused;
use crate::limiter::PlanLimits;
use crate::types::{Ctx, TenantId, UserId};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a request waits for its turn.
const WAIT: Duration = Duration::from_secs(10);

/// The door to this node's turns.
pub(super) struct Admission {
    /// Turns that run at once; as many may wait.
    bound: usize,
    load: Mutex<Load>,
}

#[derive(Default)]
struct Load {
    running: usize,
    tenants: HashMap<TenantId, TenantLoad>,
    /// Tenants with somebody waiting, the next to be served first.
    order: VecDeque<TenantId>,
    waiting: usize,
    tickets: u64,
}

#[derive(Default)]
struct TenantLoad {
    /// Running and waiting.
    turns: usize,
    users: HashMap<UserId, usize>,
    queue: VecDeque<(u64, oneshot::Sender<()>)>,
}

/// A place among the turns, or in the queue for one; dropping it gives it to the next.
pub(super) struct Place {
    admission: Arc<Admission>,
    ctx: Ctx,
    ticket: u64,
}

impl Admission {
    pub(super) fn new(bound: usize) -> Arc<Self> {
        Arc::new(Self { bound, load: Mutex::default() })
    }

    /// A place, now or within moments.
    pub(super) async fn admit(
        self: &Arc<Self>,
        ctx: Ctx,
        limits: PlanLimits,
    ) -> Result<Place, Refused> {
        let (place, called) = self.enter(ctx, limits)?;
        match called {
            None => Ok(place),
            Some(called) => match tokio::time::timeout(WAIT, called).await {
                Ok(Ok(())) => Ok(place),
                _ => Err(Refused::Overloaded),
            },
        }
    }

    fn enter(
        self: &Arc<Self>,
        ctx: Ctx,
        limits: PlanLimits,
    ) -> Result<(Place, Option<oneshot::Receiver<()>>), Refused> {
        let mut guard = self.load();
        let load = &mut *guard;
        let tenant = load.tenants.entry(ctx.tenant).or_default();
        let of_user = tenant.users.entry(ctx.user).or_default();
        let bounds =
            [(*of_user, limits.user_turns.get()), (tenant.turns, limits.tenant_turns.get())];
        let full = bounds.into_iter().find(|(turns, bound)| *turns >= *bound as usize);
        let free = load.running < self.bound && load.waiting == 0;
        let refused = match full {
            Some((_, limit)) => Some(Refused::TooManyTurns { limit }),
            None if !free && load.waiting >= self.bound => Some(Refused::Overloaded),
            None => None,
        };
        if let Some(refused) = refused {
            load.forget_idle(ctx);
            return Err(refused);
        }
        *of_user += 1;
        tenant.turns += 1;
        load.tickets += 1;
        let ticket = load.tickets;
        let called = if free {
            load.running += 1;
            None
        } else {
            let (call, called) = oneshot::channel();
            if tenant.queue.is_empty() {
                load.order.push_back(ctx.tenant);
            }
            tenant.queue.push_back((ticket, call));
            load.waiting += 1;
            metrics::gauge!("docent_turns_waiting").increment(1.0);
            Some(called)
        };
        drop(guard);
        Ok((Place { admission: Arc::clone(self), ctx, ticket }, called))
    }

    /// True when no turn runs, is being opened, or waits.
    pub(super) fn is_idle(&self) -> bool {
        let load = self.load();
        load.running == 0 && load.waiting == 0
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// The next in the queue begins to run: one of the tenant that has waited longest.
    fn call_next(&mut self) {
        while let Some(id) = self.order.pop_front() {
            let Some(tenant) = self.tenants.get_mut(&id) else { continue };
            let Some((_, call)) = tenant.queue.pop_front() else { continue };
            if !tenant.queue.is_empty() {
                self.order.push_back(id);
            }
            self.left_queue();
            self.running += 1;
            // One who has just gone away drops the place, which calls the next.
            let _gone = call.send(());
            return;
        }
    }

    fn left_queue(&mut self) {
        self.waiting -= 1;
        metrics::gauge!("docent_turns_waiting").decrement(1.0);
    }

    fn forget_idle(&mut self, ctx: Ctx) {
        if let Some(tenant) = self.tenants.get_mut(&ctx.tenant) {
            tenant.users.retain(|_, turns| *turns > 0);
            if tenant.turns == 0 {
                self.tenants.remove(&ctx.tenant);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut load = self.admission.load();
        let mut waited = false;
        if let Some(tenant) = load.tenants.get_mut(&self.ctx.tenant) {
            let before = tenant.queue.len();
            tenant.queue.retain(|(ticket, _)| *ticket != self.ticket);
            waited = tenant.queue.len() < before;
            tenant.turns -= 1;
            if let Some(turns) = tenant.users.get_mut(&self.ctx.user) {
                *turns -= 1;
            }
            let gone = tenant.queue.is_empty();
            if waited && gone {
                load.order.retain(|id| *id != self.ctx.tenant);
            }
        }
        load.forget_idle(self.ctx);
        if waited {
            load.left_queue();
        } else {
            load.running -= 1;
            load.call_next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Role;
    use std::num::NonZeroU32;

    fn limits(tenant: u32, user: u32) -> PlanLimits {
        let many = NonZeroU32::MAX;
        PlanLimits {
            tenant_requests: many,
            user_requests: many,
            tenant_tokens: many,
            user_tokens: many,
            tenant_turns: NonZeroU32::new(tenant).unwrap(),
            user_turns: NonZeroU32::new(user).unwrap(),
        }
    }

    fn person(tenant: TenantId) -> Ctx {
        Ctx::new(tenant, UserId::new(), Role::Member)
    }

    #[tokio::test]
    async fn people_and_tenants_have_bounds_of_their_own() {
        let admission = Admission::new(100);
        let (acme, bolt) = (TenantId::new(), TenantId::new());
        let (anna, ben) = (person(acme), person(acme));
        let first = admission.admit(anna, limits(3, 2)).await.unwrap();
        let _second = admission.admit(anna, limits(3, 2)).await.unwrap();
        let refused = admission.admit(anna, limits(3, 2)).await.err().unwrap();
        assert!(matches!(refused, Refused::TooManyTurns { limit: 2 }));
        let _bens = admission.admit(ben, limits(3, 2)).await.unwrap();
        let refused = admission.admit(ben, limits(3, 2)).await.err().unwrap();
        assert!(matches!(refused, Refused::TooManyTurns { limit: 3 }));
        assert!(admission.admit(person(bolt), limits(3, 2)).await.is_ok());
        drop(first);
        assert!(admission.admit(anna, limits(3, 2)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_take_turns_and_nobody_waits_for_ever() {
        let admission = Admission::new(2);
        let (busy, quiet) = (person(TenantId::new()), person(TenantId::new()));
        let all = limits(100, 100);
        let mut running = vec![
            admission.admit(busy, all).await.unwrap(),
            admission.admit(busy, all).await.unwrap(),
        ];
        let (_second, mut second) = admission.enter(busy, all).unwrap();
        let (_quiet, mut quiets) = admission.enter(quiet, all).unwrap();
        assert!(
            matches!(admission.enter(quiet, all), Err(Refused::Overloaded)),
            "the queue is full"
        );
        running.pop();
        assert!(second.as_mut().unwrap().try_recv().is_ok(), "who came first");
        assert!(quiets.as_mut().unwrap().try_recv().is_err());
        let (_third, mut third) = admission.enter(busy, all).unwrap();
        running.pop();
        assert!(quiets.as_mut().unwrap().try_recv().is_ok(), "the other tenant's turn");
        assert!(third.as_mut().unwrap().try_recv().is_err());
        let refused = admission.admit(quiet, all).await.err().unwrap();
        assert!(matches!(refused, Refused::Overloaded), "after a while");
        drop((_second, _quiet));
        assert!(third.as_mut().unwrap().try_recv().is_ok());
    }

    #[tokio::test]
    async fn who_stops_waiting_makes_room() {
        let admission = Admission::new(1);
        let anna = person(TenantId::new());
        let all = limits(100, 100);
        let running = admission.admit(anna, all).await.unwrap();
        let (left, _) = admission.enter(anna, all).unwrap();
        drop(left);
        let (_next, called) = admission.enter(anna, all).unwrap();
        drop(running);
        assert!(called.unwrap().try_recv().is_ok());
        assert_eq!(admission.load().running, 1);
    }
}
