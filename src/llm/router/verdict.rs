//! What a provider says of a key holds on every node: that its limit is used up, that it is wrong or unpaid. One node
//! hears it, and the others need not ask. That a provider cannot be reached is not passed on: it may be this node
//! that is cut off.
//!
//! Best effort, through Redis: nothing waits for it, and a node that does not hear it finds out by itself.

use super::breaker::Guarded;
use super::breakers::{Breakers, WeakBreakers};
use crate::cluster::{Cluster, Listener, Next};
use crate::llm::LlmError;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

const CHANNEL: &str = "verdicts";

/// A model is left alone under a key, because its provider said so.
#[derive(Serialize, Deserialize)]
struct Verdict {
    /// Whose words these are: nobody listens to itself.
    speaker: Uuid,
    guarded: Guarded,
    status: u16,
    until: DateTime<Utc>,
}

/// The other nodes.
#[derive(Clone)]
pub(super) struct Others {
    cluster: Cluster,
    speaker: Uuid,
}

impl std::fmt::Debug for Others {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Others({})", self.speaker)
    }
}

impl Others {
    /// Speaks to them, and lets `breakers` hear what they say.
    pub(super) fn join(cluster: &Cluster, breakers: &Breakers) -> Self {
        let speaker = Uuid::now_v7();
        let ear = Ear { speaker, breakers: breakers.downgrade() };
        cluster.follow(CHANNEL, Box::new(ear));
        Self { cluster: cluster.clone(), speaker }
    }

    /// Passes on what a provider said.
    pub(super) fn tell(&self, guarded: &Guarded, error: &LlmError, pause: Duration) {
        let LlmError::Status(refusal) = error else { return };
        let (speaker, guarded, status) = (self.speaker, guarded.clone(), refusal.status);
        let verdict = Verdict { speaker, guarded, status, until: Utc::now() + pause };
        self.cluster.post(CHANNEL, &serde_json::to_string(&verdict).unwrap_or_default());
    }
}

/// Hears the others.
struct Ear {
    speaker: Uuid,
    breakers: WeakBreakers,
}

impl Listener for Ear {
    fn entry(&mut self, _id: &str, payload: &[u8]) -> Next {
        let Some(breakers) = self.breakers.upgrade() else { return Next::Done };
        // What cannot be read is of a newer version.
        if let Ok(verdict) = serde_json::from_slice::<Verdict>(payload)
            && verdict.speaker != self.speaker
            && let Ok(wait) = (verdict.until - Utc::now()).to_std()
        {
            breakers.of(&verdict.guarded).hear(verdict.status, wait);
        }
        Next::More
    }

    fn wanted(&self) -> bool {
        self.breakers.upgrade().is_some()
    }
}
