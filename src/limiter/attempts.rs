//! A limit per key of any kind: how often something may be tried in a span of time.

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter as Governor};
use std::num::NonZeroU32;
use std::time::Duration;

/// Counts attempts by key.
pub struct Attempts {
    cells: DefaultKeyedRateLimiter<String>,
}

impl Attempts {
    /// At most `n` at once, and `n` per `span` in the long run.
    #[must_use]
    pub fn new(n: u32, span: Duration) -> Self {
        let n = NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::with_period(span / n.get())
            .unwrap_or_else(|| Quota::per_minute(NonZeroU32::MIN))
            .allow_burst(n);
        Self { cells: Governor::keyed(quota) }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// With the time to wait, when there were too many.
    pub fn take(&self, key: &str) -> Result<(), Duration> {
        self.cells
            .check_key(&key.to_owned())
            .map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }

    /// Forgets keys that are full again.
    pub fn sweep(&self) {
        self.cells.retain_recent();
        self.cells.shrink_to_fit();
    }
}
