//! Where governor keeps the time at which each cell is full again, and the clock that these times
//! are of. Both are ours so that a charge can be corrected later, and be looked at without one.

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::clock::Clock;
use governor::nanos::Nanos;
use governor::state::StateStore;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Cells that are kept at once: twenty times as many people as one node can answer in the minute
/// after which their cells are swept.
const MOST: usize = 1 << 18;

/// Counts from its first reading, which is governor's start.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<OnceLock<Instant>>);

impl Clock for Watch {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let now = Instant::now();
        now.saturating_duration_since(*self.0.get_or_init(|| now)).into()
    }
}

/// The times by key. Cheap to clone: governor has one clone and we another.
///
/// When [`MOST`] are kept, all new keys share one cell until the next sweep: memory has a bound, a
/// flood of keys is admitted what one of them would be, and who was there before does not notice.
#[derive(Clone)]
pub(super) struct Times(Arc<Shared>);

struct Shared {
    most: usize,
    times: DashMap<Uuid, Nanos>,
    /// The map's own count would lock all of it.
    count: AtomicUsize,
}

impl Default for Times {
    fn default() -> Self {
        Self::bounded(MOST)
    }
}

impl Times {
    fn bounded(most: usize) -> Self {
        Self(Arc::new(Shared { most, times: DashMap::new(), count: AtomicUsize::new(0) }))
    }

    /// Where the time of a key is, or would be.
    fn place(&self, key: Uuid) -> Uuid {
        let full = self.0.count.load(Ordering::Relaxed) >= self.0.most;
        if full && !self.0.times.contains_key(&key) { Uuid::nil() } else { key }
    }

    /// Works on the time of a key, alone.
    fn with<T>(&self, key: Uuid, work: impl FnOnce(&mut Nanos) -> T) -> T {
        match self.0.times.entry(self.place(key)) {
            Entry::Occupied(mut time) => work(time.get_mut()),
            Entry::Vacant(vacant) => {
                self.0.count.fetch_add(1, Ordering::Relaxed);
                work(&mut vacant.insert(Nanos::default()))
            }
        }
    }

    /// How long it takes from `now` until the cell is full.
    pub(super) fn until_full(&self, key: Uuid, now: Nanos) -> Duration {
        let time = self.0.times.get(&self.place(key)).map(|time| *time);
        time.unwrap_or_default().saturating_sub(now).into()
    }

    /// The cell is full earlier. Of one that is not kept nothing is owed.
    pub(super) fn earlier(&self, key: Uuid, by: Duration) {
        if let Some(mut time) = self.0.times.get_mut(&self.place(key)) {
            *time = time.saturating_sub(by.into());
        }
    }

    /// The cell is full later, whether it allows that or not.
    pub(super) fn later(&self, key: Uuid, now: Nanos, by: Duration) {
        self.with(key, |time| *time = (*time).max(now) + by);
    }

    /// Forgets cells that are full: they cannot be told from new ones.
    pub(super) fn sweep(&self, now: Nanos) {
        let Shared { times, count, .. } = &*self.0;
        let mut swept = 0;
        times.retain(|_, time| {
            swept += usize::from(*time <= now);
            *time > now
        });
        count.fetch_sub(swept, Ordering::Relaxed);
        times.shrink_to_fit();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) == 0
    }
}

impl StateStore for Times {
    type Key = Uuid;

    fn measure_and_replace<T, F, E>(&self, key: &Uuid, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.with(*key, |time| {
            let (told, next) = decide(Some(*time))?;
            *time = next;
            Ok(told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_keys_shares_one_cell_and_disturbs_nobody() {
        let (times, now) = (Times::bounded(100), Nanos::default());
        let seconds = Duration::from_secs;
        let before: Vec<Uuid> = (1..=99).map(Uuid::from_u128).collect();
        before.iter().for_each(|key| times.later(*key, now, seconds(1)));
        (1_000..2_000).for_each(|key| times.later(Uuid::from_u128(key), now, seconds(1)));
        assert_eq!(times.0.times.len(), 101, "the hundredth, and the one that the others share");
        let stranger = Uuid::from_u128(5_000);
        assert_eq!(times.until_full(stranger, now), seconds(999));
        assert!(before.iter().all(|key| times.until_full(*key, now) == seconds(1)));
        times.sweep(seconds(1).into());
        assert_eq!(times.0.times.len(), 1);
        assert_eq!(times.until_full(stranger, now), Duration::ZERO, "there is room again");
        times.sweep(seconds(999).into());
        assert!(times.is_empty() && times.0.times.is_empty());
    }
}
