//! What a vendor is handed, and what it says to that.

use crate::net::{Complaint, Refusal, describe};
use crate::types::Secret;
use chrono::{DateTime, Utc};
use reqwest::RequestBuilder;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// A vendor that is silent for so long is away.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One event as a vendor wants it.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) seq: i64,
    pub(super) event_id: Uuid,
    pub(super) body: Value,
}

/// What becomes of a row: an event, nothing to tell (`None`), or a reason to park it.
pub(super) type Rendered = Result<Option<Value>, String>;

/// What a vendor said to a batch.
#[derive(Debug)]
pub(super) enum Answer {
    /// It has all of it now.
    Taken,
    /// It took nothing, and will not take this batch.
    Refused(String),
    /// It took nothing because of these: refused with a reason, or there already. Never empty.
    RefusedSome(BTreeMap<usize, Option<String>>),
    /// Not now.
    Hold(Hold),
}

/// Why to wait.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) error: String,
    /// How long the vendor asked us to wait.
    pub(super) asked: Option<Duration>,
    /// It may have taken the batch all the same.
    pub(super) in_doubt: bool,
    /// It wants no more, ever.
    pub(super) gone: bool,
}

/// An answer that is not 2xx.
#[derive(Debug)]
pub(super) struct No {
    /// None: there was no answer.
    pub(super) refusal: Option<Refusal>,
    /// What came with the refusal.
    pub(super) body: Value,
    pub(super) hold: Hold,
}

impl No {
    /// The status; 0 when there was no answer.
    pub(super) fn status(&self) -> u16 {
        self.refusal.as_ref().map_or(0, |refusal| refusal.status)
    }

    /// The batch itself is what is wrong: sent again, it is refused again.
    pub(super) fn is_final(&self) -> bool {
        matches!(self.status(), 400 | 413 | 422)
    }

    /// Final refusals concern the batch, everything else us.
    pub(super) fn into_answer(self) -> Answer {
        if self.is_final() { Answer::Refused(self.hold.error) } else { Answer::Hold(self.hold) }
    }
}

/// Posts a batch; only a status 2xx is a yes.
pub(super) async fn post(request: RequestBuilder, key: Option<&Secret>) -> Result<(), No> {
    let response = match request.timeout(TIMEOUT).send().await {
        Ok(response) if response.status().is_success() => return Ok(()),
        Ok(response) => response,
        Err(error) => {
            let in_doubt = !error.is_connect();
            let hold = Hold { error: describe(error), asked: None, in_doubt, gone: false };
            return Err(No { refusal: None, body: Value::Null, hold });
        }
    };
    let date = asked_until(response.headers(), Utc::now());
    let (refusal, body) = Refusal::read_with_body(response, key).await;
    let error = format!("HTTP {}: {}", refusal.status, refusal.complaint);
    let in_doubt = refusal.status == 408 || refusal.status >= 500;
    let hold = Hold { error, asked: refusal.retry_after.or(date), in_doubt, gone: false };
    Err(No { refusal: Some(refusal), body, hold })
}

/// The date form of `Retry-After`.
fn asked_until(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let until = DateTime::parse_from_rfc2822(headers.get(RETRY_AFTER)?.to_str().ok()?).ok()?;
    (until.to_utc() - now).to_std().ok()
}

/// A vendor's words in one short line, without our key.
pub(super) fn tidy(text: &str, key: &Secret) -> String {
    let complaint = Complaint::parse(&json!({ "message": text }), Some(key));
    complaint.message.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_form_of_retry_after_is_understood() {
        let now = DateTime::parse_from_rfc3339("2026-11-23T10:00:00Z").unwrap().to_utc();
        let asked = |value: &str| {
            asked_until(&HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]), now)
        };
        assert_eq!(asked("Mon, 23 Nov 2026 10:05:00 GMT"), Some(Duration::from_secs(300)));
        assert_eq!(asked("Mon, 23 Nov 2026 09:00:00 GMT"), None, "past");
        assert_eq!(asked("120"), None, "that is the other form");
    }
}
