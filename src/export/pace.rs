//! How long an exporter waits; not settings, but a test may wait less.

use crate::net::Backoff;
use std::time::Duration;

/// The longest a vendor may ask us to wait.
const MOST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// Pauses between rounds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// When there was nothing to export.
    pub idle: Duration,
    /// After the first failure, before jitter; doubles with each further one.
    pub base: Duration,
    /// The longest pause that we choose.
    pub cap: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { idle: seconds(2), base: seconds(1), cap: seconds(300) }
    }
}

impl Pace {
    /// The pause after `failures` failures in a row (the first is 0): ours, or longer when the vendor
    /// asked for it. It never gives up.
    #[must_use]
    pub(super) fn pause(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let backoff = Backoff { base: self.base, cap: self.cap, retries: u32::MAX };
        let ours = backoff.pause(failures, None).unwrap_or(self.cap);
        ours.max(asked.unwrap_or_default().min(MOST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_hears_the_vendor() {
        let pace = Pace::default();
        assert!(pace.pause(0, None) <= Duration::from_secs(1));
        let long = pace.pause(5_000, None);
        assert!(long <= pace.cap && long >= pace.cap / 2, "{long:?}");
        assert_eq!(pace.pause(0, Some(Duration::from_secs(900))), Duration::from_secs(900));
        assert_eq!(pace.pause(0, Some(Duration::from_secs(u64::MAX))), MOST_ASKED);
    }
}
