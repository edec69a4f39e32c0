//! The copy of running turns' logs that other nodes read, a few dozen times a second, all turns in
//! one round trip. When Redis is away parts wait in their logs, and others read the journal.

use super::log::TurnLog;
use crate::cluster::{Cluster, ClusterError, Run, Status, Writer};
use crate::types::TurnId;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long parts are collected.
const EVERY: Duration = Duration::from_millis(30);
/// Between attempts while Redis is away.
const PAUSE: Duration = Duration::from_millis(500);

/// How much of a log was written.
struct Place {
    log: Arc<TurnLog>,
    written: usize,
}

/// Writes the logs of this node's turns.
pub(super) struct Mirror {
    cluster: Cluster,
    places: Mutex<Vec<Place>>,
    added: Notify,
}

impl Mirror {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, places: Mutex::default(), added: Notify::new() }
    }

    /// Copies this log until it has ended.
    pub(super) fn add(&self, log: &Arc<TurnLog>) {
        if self.cluster.status() != Status::Alone {
            self.places().push(Place { log: Arc::clone(log), written: 0 });
            self.added.notify_one();
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies until `closing`.
    pub(super) async fn run(&self, closing: CancellationToken) {
        let work = async {
            loop {
                let wait = match self.flush().await {
                    Ok(()) => EVERY,
                    Err(_away) => PAUSE, // counted and logged where it failed
                };
                if self.places().is_empty() {
                    self.added.notified().await;
                }
                tokio::time::sleep(wait).await;
            }
        };
        closing.run_until_cancelled(work).await;
    }

    /// Writes what is there.
    pub(super) async fn flush(&self) -> Result<(), ClusterError> {
        let runs: Vec<Run> = self.places().iter().filter_map(Place::news).collect();
        let outcome = self.cluster.append(&runs).await;
        let written: HashMap<TurnId, usize> = match outcome {
            Ok(()) => runs.iter().map(|run| (run.turn, run.end)).collect(),
            Err(_) => HashMap::new(),
        };
        // An ended log that Redis did not take is read from PostgreSQL.
        let open = |place: &mut Place| {
            place.written = written.get(&place.log.turn()).copied().unwrap_or(place.written);
            !place.log.ended() || (outcome.is_ok() && place.written < place.log.len())
        };
        self.places().retain_mut(open);
        outcome
    }
}

impl Place {
    /// What is not written yet.
    fn news(&self) -> Option<Run> {
        let last = self.log.ended(); // before reading: what comes between is read, too
        let (lines, end) = self.log.lines_from(self.written);
        let (turn, writer) = (self.log.turn(), Writer::Owner);
        let lines = Bytes::from(lines);
        (!lines.is_empty()).then_some(Run { turn, writer, end, lines, last })
    }
}
