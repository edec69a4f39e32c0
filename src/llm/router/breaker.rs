//! Whether a model is worth asking right now.
//!
//! Closed: it is asked. Open: it is not, for a while. Half-open: one request tries it, the others are kept
//! away until that one is known to have begun. A failure that is the request's own never counts. The memory
//! is this node's; what a provider said of a key is told to the others.

use super::blame::Blame;
use super::verdict::Others;
use crate::llm::{Headroom, LlmError};
use crate::net::{Complaint, Refusal};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 5;
/// How long it is open first; twice as long each time that the try fails.
const PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// What a wrong key, an unpaid bill or an unknown model costs.
const SETUP_PAUSE: Duration = Duration::from_secs(120);
/// The longest that a provider may ask for.
const LONGEST_BUSY: Duration = Duration::from_secs(600);
/// When to come back while another request tries it.
const TRYING: Duration = Duration::from_millis(500);

/// What a breaker guards.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Guarded {
    pub(super) provider: String,
    /// The provider's own name for it.
    pub(super) model: String,
    /// A fingerprint of the key, and whose it is when it is a tenant's.
    pub(super) key: [u8; 8],
    pub(super) tenant: Option<crate::types::TenantId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { trying: bool },
}

/// The last failure, for admins and for those who are kept away.
#[derive(Clone, Debug)]
pub(super) struct LastFailure {
    pub(super) error: LlmError,
    pub(super) at: DateTime<Utc>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// In a row, while it is closed.
    failures: u32,
    /// How often in a row it was opened without an answer that came to its end.
    opened: u32,
    last: Option<LastFailure>,
    used: Instant,
}

/// The breaker of one model under one key.
#[derive(Debug)]
pub(super) struct Breaker {
    guarded: Guarded,
    state: Mutex<State>,
    others: Option<Others>,
}

/// It is not asked now.
#[derive(Debug)]
pub(super) struct KeptAway {
    /// Until it may be.
    pub(super) wait: Duration,
    /// Why it is not.
    pub(super) error: LlmError,
}

/// How it stands, for admins.
pub(super) struct Standing {
    pub(super) state: &'static str,
    pub(super) failures: u32,
    /// Until it is tried again.
    pub(super) wait: Option<Duration>,
    pub(super) last: Option<LastFailure>,
}

impl Breaker {
    /// One whose verdicts `others` are told.
    pub(super) fn among(others: Option<Others>, guarded: Guarded) -> Arc<Self> {
        let state = State {
            phase: Phase::Closed,
            failures: 0,
            opened: 0,
            last: None,
            used: Instant::now(),
        };
        Arc::new(Self { guarded, state: Mutex::new(state), others })
    }

    #[cfg(test)]
    pub(super) fn new(guarded: Guarded) -> Arc<Self> {
        Self::among(None, guarded)
    }

    /// Another node was told this by the provider.
    pub(super) fn hear(&self, status: u16, wait: Duration) {
        let mut state = self.state();
        if state.phase == Phase::Closed {
            let wait = wait.min(LONGEST_BUSY);
            let complaint = Complaint::default();
            let refusal = Refusal { status, complaint, retry_after: Some(wait) };
            let error = LlmError::Status(refusal);
            state.last = Some(LastFailure { error, at: Utc::now() });
            self.open(&mut state, wait);
        }
    }

    /// Opens it, and lets the others know.
    fn obey(&self, state: &mut State, pause: Duration) {
        self.open(state, pause);
        if let (Some(others), Some(last)) = (&self.others, &state.last) {
            others.tell(&self.guarded, &last.error, pause);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is asked, whatever is known of it.
    pub(super) fn insist(self: &Arc<Self>) -> Permit {
        let mut state = self.state();
        state.used = Instant::now();
        state.phase = Phase::HalfOpen { trying: true };
        self.shown(&state);
        Permit { breaker: Arc::clone(self), trial: true }
    }

    /// May it be asked?
    pub(super) fn admit(self: &Arc<Self>) -> Result<Permit, KeptAway> {
        let now = Instant::now();
        let mut state = self.state();
        state.used = now;
        let trial = match state.phase {
            Phase::Closed => false,
            Phase::Open { until } if now < until => return Err(state.kept_away(until - now)),
            Phase::HalfOpen { trying: true } => return Err(state.kept_away(TRYING)),
            Phase::Open { .. } | Phase::HalfOpen { trying: false } => {
                state.phase = Phase::HalfOpen { trying: true };
                self.shown(&state);
                true
            }
        };
        Ok(Permit { breaker: Arc::clone(self), trial })
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.state();
        let now = Instant::now();
        let (word, wait) = match state.phase {
            Phase::Closed => ("closed", None),
            Phase::Open { until } if now < until => ("open", Some(until - now)),
            Phase::Open { .. } | Phase::HalfOpen { .. } => ("half_open", None),
        };
        Standing { state: word, failures: state.failures, wait, last: state.last.clone() }
    }

    pub(super) fn guarded(&self) -> &Guarded {
        &self.guarded
    }

    /// How long nobody wanted it.
    pub(super) fn unused(&self) -> Duration {
        self.state().used.elapsed()
    }

    fn open(&self, state: &mut State, pause: Duration) {
        state.phase = Phase::Open { until: Instant::now() + pause };
        state.failures = 0;
        state.opened = state.opened.saturating_add(1);
        self.shown(state);
        let Guarded { provider, model, tenant, .. } = &self.guarded;
        metrics::counter!("docent_model_breaker_opened_total",
            "provider" => provider.clone(), "model" => model.clone())
        .increment(1);
        let (error, tenant) = (state.last.as_ref().map(|last| last.error.to_string()), *tenant);
        tracing::warn!(
            llm.provider = provider,
            llm.model = model,
            ?tenant,
            pause_s = pause.as_secs(),
            error,
            "A model is not asked for a while"
        );
    }

    /// The server's own keys have a gauge; tenants would be too many.
    fn shown(&self, state: &State) {
        let Guarded { provider, model, tenant: None, .. } = &self.guarded else { return };
        let value = match state.phase {
            Phase::Closed => 0.0,
            Phase::HalfOpen { .. } => 1.0,
            Phase::Open { .. } => 2.0,
        };
        metrics::gauge!("docent_model_breaker_state",
            "provider" => provider.clone(), "model" => model.clone())
        .set(value);
    }
}

impl State {
    fn kept_away(&self, wait: Duration) -> KeptAway {
        let error = match &self.last {
            Some(last) => last.error.clone(),
            None => no_headroom(wait),
        };
        KeptAway { wait, error }
    }
}

fn no_headroom(wait: Duration) -> LlmError {
    let message = Some("its rate limit is used up".to_owned());
    let complaint = Complaint { code: Some("rate_limit_exceeded".to_owned()), message };
    LlmError::Status(Refusal { status: 429, complaint, retry_after: Some(wait) })
}

/// The right to ask once. Dropped without a word it changes nothing.
#[derive(Debug)]
pub(super) struct Permit {
    breaker: Arc<Breaker>,
    /// This is the one that tries a half-open one, and nothing is known yet.
    trial: bool,
}

impl Permit {
    /// The answer has begun. One that was tried is asked by everybody again, but the next failure opens it.
    pub(super) fn began(&mut self, headroom: Headroom) {
        let mut state = self.breaker.state();
        if std::mem::take(&mut self.trial) {
            state.phase = Phase::Closed;
            state.failures = FAILURES - 1;
            self.breaker.shown(&state);
        }
        if let (Some(wait), Phase::Closed) = (headroom.used_up(), state.phase) {
            let wait = wait.min(LONGEST_BUSY);
            state.last = Some(LastFailure { error: no_headroom(wait), at: Utc::now() });
            self.breaker.obey(&mut state, wait);
        }
    }

    /// The answer came to its end.
    pub(super) fn ended(&mut self) {
        let mut state = self.breaker.state();
        if state.phase == Phase::Closed {
            (state.failures, state.opened) = (0, 0);
        }
    }

    pub(super) fn failed(&mut self, error: &LlmError) {
        let mut state = self.breaker.state();
        state.last = Some(LastFailure { error: error.clone(), at: Utc::now() });
        let trial = std::mem::take(&mut self.trial);
        if !trial && state.phase != Phase::Closed {
            return; // asked before it opened: that is known
        }
        match Blame::of(error) {
            // It was there to refuse it.
            Blame::Request if trial => {
                state.phase = Phase::Closed;
                state.failures = FAILURES - 1;
                self.breaker.shown(&state);
            }
            Blame::Request => {}
            Blame::Busy(wait) => self.breaker.obey(&mut state, wait.min(LONGEST_BUSY)),
            Blame::Setup => {
                let Guarded { provider, model, tenant, .. } = &self.breaker.guarded;
                tracing::error!(llm.provider = provider, llm.model = model, ?tenant, %error,
                    "A model is not set up correctly");
                self.breaker.obey(&mut state, SETUP_PAUSE);
            }
            Blame::Moment => {
                state.failures = state.failures.saturating_add(1);
                if trial || state.failures >= FAILURES {
                    let times = 1_u32.checked_shl(state.opened).unwrap_or(u32::MAX);
                    let pause = PAUSE.saturating_mul(times).min(LONGEST_PAUSE);
                    self.breaker.open(&mut state, pause);
                }
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.trial {
            let mut state = self.breaker.state();
            state.phase = Phase::HalfOpen { trying: false };
        }
    }
}

#[cfg(test)]
mod tests;
