//! The GCRA cells of one limit, one for each key. governor decides what they admit.

use super::limits::Policy;
use super::times::{Times, Watch};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter as Governor};
use std::cmp::Ordering;
use std::num::NonZeroU32;
use std::time::Duration;
use uuid::Uuid;

/// Cells in memory.
pub(super) struct Cells {
    pub(super) policy: Policy,
    governor: Governor<Uuid, Times, Watch, NoOpMiddleware<Nanos>>,
    times: Times,
}

impl Cells {
    pub(super) fn new(policy: Policy) -> Self {
        let times = Times::default();
        let quota = Quota::per_minute(policy.limit);
        let governor = Governor::new(quota, times.clone(), Watch::default());
        Self { policy, governor, times }
    }

    /// Charges `n`, or nothing.
    pub(super) fn take(&self, key: Uuid, n: u32) -> bool {
        let n = NonZeroU32::new(self.policy.cost(n)).unwrap_or(NonZeroU32::MIN);
        matches!(self.governor.check_key_n(&key, n), Ok(Ok(())))
    }

    /// What was charged as `charged` was `used`: gives the difference back, or takes it in addition,
    /// even when that is more than there is.
    pub(super) fn correct(&self, key: Uuid, charged: u32, used: u32) {
        let [charged, used] = [charged, used].map(|n| self.policy.cost(n));
        let by = self.policy.time_of(charged.abs_diff(used));
        match used.cmp(&charged) {
            Ordering::Less => self.times.earlier(key, by),
            Ordering::Equal => {}
            Ordering::Greater => self.times.later(key, self.now(), by),
        }
    }

    pub(super) fn until_full(&self, key: Uuid) -> Duration {
        self.times.until_full(key, self.now())
    }

    /// Forgets what is full.
    pub(super) fn sweep(&self) {
        self.times.sweep(self.now());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    fn now(&self) -> Nanos {
        self.governor.clock().now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::runtime::{Builder, Runtime};

    /// A bucket of what is left, in nanoseconds of filling; below zero it is owed.
    struct Bucket {
        level: i128,
        most: i128,
    }

    #[derive(Clone, Debug)]
    enum Event {
        /// A turn is estimated at `n`.
        Begin(u32),
        /// The turn that began first used `n`.
        End(u32),
        Wait(u64),
        Sweep,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (1_u32..40).prop_map(Event::Begin),
            3 => (0_u32..60).prop_map(Event::End),
            3 => (0_u64..20_000).prop_map(Event::Wait),
            1 => Just(Event::Sweep),
        ]
    }

    fn paused() -> Runtime {
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
    }

    async fn run(limit: u32, events: Vec<Event>) -> Result<(), TestCaseError> {
        let policy = Policy { name: "user-tokens", limit: NonZeroU32::new(limit).unwrap() };
        let cells = Cells::new(policy);
        let time_of = |n: u32| i128::try_from(policy.time_of(n).as_nanos()).unwrap();
        let most = time_of(limit);
        let (key, mut bucket, mut turns) = (Uuid::nil(), Bucket { level: most, most }, Vec::new());
        for event in events {
            match event {
                Event::Begin(n) => {
                    let cost = time_of(policy.cost(n));
                    let admitted = cost <= bucket.level;
                    prop_assert_eq!(cells.take(key, n), admitted);
                    if admitted {
                        bucket.level -= cost;
                        turns.push(n);
                    }
                }
                Event::End(used) if !turns.is_empty() => {
                    let charged = turns.remove(0);
                    cells.correct(key, charged, used);
                    let more = time_of(policy.cost(used)) - time_of(policy.cost(charged));
                    bucket.level = (bucket.level - more).min(bucket.most);
                }
                Event::End(_) => {}
                Event::Wait(ms) => {
                    tokio::time::advance(Duration::from_millis(ms)).await;
                    bucket.level = (bucket.level + i128::from(ms) * 1_000_000).min(bucket.most);
                }
                Event::Sweep => {
                    cells.sweep();
                    prop_assert_eq!(cells.is_empty(), bucket.level == bucket.most);
                }
            }
            let until_full = i128::try_from(cells.until_full(key).as_nanos()).unwrap();
            prop_assert_eq!(until_full, bucket.most - bucket.level);
            let left = u32::try_from((bucket.level.max(0)) / time_of(1)).unwrap();
            prop_assert_eq!(policy.headroom(cells.until_full(key)).remaining, left);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn a_cell_is_a_bucket(
            limit in 1_u32..80,
            events in prop::collection::vec(event(), 1..60),
        ) {
            paused().block_on(run(limit, events))?;
        }
    }
}
