//! What is left of the rate limits, in the headers that OpenAI's clients know: of each kind the tightest.

use crate::limiter::Headroom;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(60);

/// Routes that have these headers.
pub(in crate::api) fn has_them(pattern: &str) -> bool {
    ["/v1/models", "/v1/embeddings", "/v1/chat/completions"]
        .iter()
        .any(|beginning| pattern.starts_with(beginning))
}

/// Adds `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`.
pub(in crate::api) fn tell(headers: &mut HeaderMap, left: &[Headroom]) {
    for kind in ["requests", "tokens"] {
        let of_kind = left.iter().filter(|one| one.policy.ends_with(kind));
        let Some(tightest) = of_kind.min_by_key(|one| one.remaining) else { continue };
        for (what, value) in [
            ("limit", tightest.limit.to_string()),
            ("remaining", tightest.remaining.to_string()),
            ("reset", in_words(until_full(tightest))),
        ] {
            let name = HeaderName::try_from(format!("x-ratelimit-{what}-{kind}"));
            if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
    }
}

fn until_full(left: &Headroom) -> Duration {
    let more = left.limit.saturating_sub(left.remaining).saturating_sub(1);
    left.next + (WINDOW / left.limit.max(1)).saturating_mul(more)
}

/// `12ms`, `1s`, `6m0s`.
fn in_words(time: Duration) -> String {
    match (time.as_millis(), time.as_secs().max(1)) {
        (ms, _) if ms < 1000 => format!("{ms}ms"),
        (_, seconds) if seconds < 60 => format!("{seconds}s"),
        (_, seconds) => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_of_each_kind_is_told() {
        let one = |policy, limit, remaining, next| Headroom {
            policy,
            limit,
            remaining,
            next: Duration::from_millis(next),
        };
        let left = [
            one("user-requests", 60, 57, 500),
            one("tenant-requests", 600, 590, 0),
            one("user-tokens", 1000, 1000, 0),
        ];
        let mut headers = HeaderMap::new();
        tell(&mut headers, &left);
        let said = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(said("x-ratelimit-limit-requests"), "60");
        assert_eq!(said("x-ratelimit-remaining-requests"), "57");
        assert_eq!(said("x-ratelimit-reset-requests"), "2s");
        assert_eq!(said("x-ratelimit-reset-tokens"), "0ms");
        assert_eq!(in_words(Duration::from_secs(360)), "6m0s");
    }
}
