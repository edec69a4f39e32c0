//! Whose fault a failure is: that decides whether the model is asked by others, and whether it is asked again.

use crate::llm::LlmError;
use std::time::Duration;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The request's: the model is fine.
    Request,
    /// The moment's: once is bad luck, often is an outage.
    Moment,
    /// The provider wants to be left alone for this long.
    Busy(Duration),
    /// The key's, the bill's or the catalogue's: it lasts until somebody does something.
    Setup,
}

impl Blame {
    pub(super) fn of(error: &LlmError) -> Self {
        match error.code() {
            "model_misconfigured" | "model_unauthorized" | "model_unpaid" | "model_unknown" => {
                return Self::Setup;
            }
            "model_too_long" | "model_refused" => return Self::Request,
            _ => {}
        }
        match error {
            LlmError::Status(refusal) => match (refusal.status, refusal.retry_after) {
                (429 | 503 | 529, Some(wait)) => Self::Busy(wait),
                (408 | 429, _) => Self::Moment,
                (400..=499, _) => Self::Request,
                _ => Self::Moment,
            },
            _ => Self::Moment,
        }
    }
}

/// Whether the same model may be asked once more: the provider cannot have begun to work on it.
pub(super) fn may_repeat(error: &LlmError) -> bool {
    match error {
        LlmError::Connect { .. } => true,
        LlmError::Status(_) => error.retryable(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::Wait;
    use crate::net::{Complaint, Refusal};

    fn status(status: u16, retry_after: Option<u64>) -> LlmError {
        let retry_after = retry_after.map(Duration::from_secs);
        LlmError::Status(Refusal { status, complaint: Complaint::default(), retry_after })
    }

    #[test]
    fn a_bad_request_is_nobodys_outage() {
        for (error, blame, repeat) in [
            (status(400, None), Blame::Request, false),
            (status(413, None), Blame::Request, false),
            (status(422, Some(3)), Blame::Request, false),
            (status(401, None), Blame::Setup, false),
            (status(402, None), Blame::Setup, false),
            (status(403, None), Blame::Setup, false),
            (status(404, None), Blame::Setup, false),
            (status(408, None), Blame::Moment, true),
            (status(429, None), Blame::Moment, true),
            (status(429, Some(7)), Blame::Busy(Duration::from_secs(7)), true),
            (status(500, Some(7)), Blame::Moment, true),
            (status(503, Some(7)), Blame::Busy(Duration::from_secs(7)), true),
            (LlmError::Cut, Blame::Moment, false),
            (LlmError::Connect { detail: String::new() }, Blame::Moment, true),
            (
                LlmError::Timeout { what: Wait::Headers, after: Duration::ZERO },
                Blame::Moment,
                false,
            ),
            (LlmError::Request { detail: String::new() }, Blame::Setup, false),
        ] {
            assert_eq!((Blame::of(&error), may_repeat(&error)), (blame, repeat), "{error}");
        }
    }
}
