//! A limit per key of any kind: how often something may be tried in a span of time.

use super::times::{Times, Watch};
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter as Governor};
use sha2::{Digest, Sha256};
use std::num::NonZeroU32;
use std::time::Duration;
use uuid::Uuid;

/// Counts attempts by key.
pub struct Attempts {
    cells: Governor<Uuid, Times, Watch, NoOpMiddleware<Nanos>>,
    times: Times,
}

impl Attempts {
    /// At most `n` at once, and `n` per `span` in the long run.
    #[must_use]
    pub fn new(n: u32, span: Duration) -> Self {
        let n = NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(span / n.get())
            .unwrap_or_else(|| Quota::per_minute(NonZeroU32::MIN))
            .allow_burst(n);
        let times = Times::default();
        Self { cells: Governor::new(quota, times.clone(), Watch::default()), times }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// With the time to wait, when there were too many.
    pub fn take(&self, key: &str) -> Result<(), Duration> {
        self.cells
            .check_key(&short(key))
            .map_err(|until| until.wait_time_from(self.cells.clock().now()))
    }

    /// Forgets keys that are full again.
    pub fn sweep(&self) {
        self.times.sweep(self.cells.clock().now());
    }
}

/// Whoever is not logged in chooses the key: however long it is, no more than this is kept.
fn short(key: &str) -> Uuid {
    let hash: [u8; 32] = Sha256::digest(key).into();
    let (half, _) = hash.split_at(16);
    Uuid::from_slice(half).unwrap_or_default()
}
