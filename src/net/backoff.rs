//! How long to wait before asking again.
//!
//! Exponential with jitter, so that a fleet that failed together does not return together.
//! Deliberately absent: the loop, and the decision whether to ask again at all.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt as _;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

/// Pauses between attempts.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Pause before the first repetition, before jitter; doubles with each one.
    pub base: Duration,
    /// Longest pause that we choose, and the longest that a server may ask of us.
    pub cap: Duration,
    /// Repetitions after the first attempt.
    pub retries: u32,
}

impl Backoff {
    /// The pause before repetition number `repetition` (from 0), or `None` when it is time to
    /// give up: no repetition is left, or the server asked for more patience than `cap`.
    #[must_use]
    pub fn pause(&self, repetition: u32, asked: Option<Duration>) -> Option<Duration> {
        if repetition >= self.retries {
            return None;
        }
        let doubled = self.base.saturating_mul(1_u32.checked_shl(repetition).unwrap_or(u32::MAX));
        let jittered = doubled.min(self.cap).mul_f64(rand::rng().random_range(0.5..=1.0));
        match asked {
            Some(asked) if asked > self.cap => None,
            Some(asked) => Some(asked.max(jittered)),
            None => Some(jittered),
        }
    }
}

/// What `Retry-After` (seconds or a date) or `retry-after-ms` asks for. A date is compared with the
/// server's own clock where it says what that shows: ours may be another.
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| text(name)?.parse::<f64>().ok();
    let date = |name: &str| Some(DateTime::parse_from_rfc2822(text(name)?).ok()?.to_utc());
    if let Some(until) = date(RETRY_AFTER.as_str()) {
        let now = date(DATE.as_str()).unwrap_or_else(Utc::now);
        return Some((until - now).to_std().unwrap_or_default());
    }
    let seconds =
        number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number(RETRY_AFTER.as_str()))?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5), retries: 2 };

    #[test]
    fn grows_and_gives_up() {
        let first = BACKOFF.pause(0, None).unwrap();
        let second = BACKOFF.pause(1, None).unwrap();
        assert!((50..=100).contains(&first.as_millis()), "{first:?}");
        assert!((100..=200).contains(&second.as_millis()), "{second:?}");
        assert_eq!(BACKOFF.pause(2, None), None);
    }

    #[test]
    fn patience_has_a_limit() {
        assert_eq!(BACKOFF.pause(0, Some(Duration::from_secs(2))), Some(Duration::from_secs(2)));
        assert_eq!(BACKOFF.pause(0, Some(Duration::from_secs(60))), None);
    }

    #[test]
    fn reads_both_headers_and_survives_nonsense() {
        let headers = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert_eq!(retry_after(&headers("retry-after", "3")), Some(Duration::from_secs(3)));
        assert_eq!(
            retry_after(&headers("retry-after-ms", "250")),
            Some(Duration::from_millis(250))
        );
        let mut dates = headers("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT");
        dates.insert(DATE, "Wed, 21 Oct 2026 07:27:30 GMT".parse().unwrap());
        assert_eq!(retry_after(&dates), Some(Duration::from_secs(30)), "by the server's clock");
        let past = headers("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(retry_after(&past), Some(Duration::ZERO));
        for nonsense in ["-1", "NaN", "inf", "1e300", "soon", "Wed, 41 Oct 2026 07:28:00 GMT"] {
            assert_eq!(retry_after(&headers("retry-after", nonsense)), None, "{nonsense}");
        }
    }
}
