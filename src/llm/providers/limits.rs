//! What is left of a provider's rate limits, from the headers of its answer.
//!
//! OpenAI and its kin say when a limit resets as a duration (`6m0s`), Anthropic as a date. Gemini
//! says nothing. A header that cannot be read is as good as none.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;

use crate::llm::{Headroom, Left};

/// Reads the headers, whoever sent them.
pub(super) fn headroom(headers: &HeaderMap) -> Headroom {
    let left = |what: &str| {
        let openai = [format!("x-ratelimit-remaining-{what}"), format!("x-ratelimit-reset-{what}")];
        let anthropic = [
            format!("anthropic-ratelimit-{what}-remaining"),
            format!("anthropic-ratelimit-{what}-reset"),
        ];
        [openai, anthropic].iter().find_map(|[remaining, reset]| {
            Some(Left {
                remaining: text(headers, remaining)?.parse().ok()?,
                resets_in: until(text(headers, reset)?)?,
            })
        })
    };
    Headroom { requests: left("requests"), tokens: left("tokens") }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

fn until(text: &str) -> Option<Duration> {
    match DateTime::parse_from_rfc3339(text) {
        Ok(date) => Some((date.to_utc() - Utc::now()).to_std().unwrap_or_default()),
        Err(_no_date) => duration(text),
    }
}

/// `1h2m3.5s`, `12ms`, or bare seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let (number, after) = rest.split_at_checked(rest.find(|c: char| c.is_alphabetic())?)?;
        let end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        let scale = match unit {
            "d" => 86_400.0,
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * scale;
        total = total.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn openai_says_durations() {
        let headers = headers(&[
            ("x-ratelimit-remaining-requests", "4999"),
            ("x-ratelimit-reset-requests", "12ms"),
            ("x-ratelimit-remaining-tokens", "159976"),
            ("x-ratelimit-reset-tokens", "6m0.5s"),
        ]);
        let left =
            |remaining, millis| Some(Left { remaining, resets_in: Duration::from_millis(millis) });
        let expected = Headroom { requests: left(4_999, 12), tokens: left(159_976, 360_500) };
        assert_eq!(headroom(&headers), expected);
    }

    #[test]
    fn anthropic_says_dates() {
        let soon = (Utc::now() + Duration::from_mins(10)).to_rfc3339();
        let headers = headers(&[
            ("anthropic-ratelimit-requests-remaining", "9"),
            ("anthropic-ratelimit-requests-reset", &soon),
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2020-01-01T00:00:00Z"),
        ]);
        let read = headroom(&headers);
        let requests = read.requests.unwrap();
        assert_eq!(requests.remaining, 9);
        assert!((590..=600).contains(&requests.resets_in.as_secs()), "{requests:?}");
        assert_eq!(read.tokens, Some(Left { remaining: 0, resets_in: Duration::ZERO }));
    }

    #[test]
    fn nonsense_is_nothing() {
        for (remaining, reset) in [("many", "1s"), ("1", "soon"), ("1", "1y"), ("-1", "1s")] {
            let headers = headers(&[
                ("x-ratelimit-remaining-tokens", remaining),
                ("x-ratelimit-reset-tokens", reset),
            ]);
            assert_eq!(headroom(&headers), Headroom::default(), "{remaining} {reset}");
        }
        for nonsense in ["-1s", "1e300s", "s", "ms1"] {
            assert_eq!(duration(nonsense), None, "{nonsense}");
        }
    }
}
