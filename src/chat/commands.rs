//! What other nodes ask of this one.

use super::service::Core;
use crate::cluster::{Listener, Next};
use crate::types::TurnId;
use serde::{Deserialize, Serialize};
use std::sync::Weak;

/// A command to the node that runs a turn.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    Stop(TurnId),
}

impl Command {
    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Carries them out.
pub(super) struct Commands(pub(super) Weak<Core>);

impl Listener for Commands {
    fn entry(&mut self, _id: &str, payload: &[u8]) -> Next {
        let Some(core) = self.0.upgrade() else { return Next::Done };
        match serde_json::from_slice(payload) {
            Ok(Command::Stop(turn)) => core.live.stop(turn),
            Err(_unknown) => {} // of a newer version, or only to wake us
        }
        Next::More
    }
}
