//! The copy of running turns' logs that other nodes read, a few dozen times a second, all turns in
//! one round trip. When Redis is away parts wait in their logs, and others read the journal.

use super::log::{Cursor, TurnLog};
use crate::cluster::{Cluster, ClusterError, Run, Status, Writer};
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long parts are collected.
const EVERY: Duration = Duration::from_millis(30);
/// Between attempts while Redis is away.
const PAUSE: Duration = Duration::from_millis(500);

/// Writes the logs of this node's turns.
pub(super) struct Mirror {
    cluster: Cluster,
    /// The place up to which each log was written.
    places: Mutex<Vec<Cursor>>,
    added: Notify,
}

impl Mirror {
    pub(super) fn new(cluster: Cluster) -> Self {
        Self { cluster, places: Mutex::default(), added: Notify::new() }
    }

    /// Copies this log until it has ended.
    pub(super) fn add(&self, log: &Arc<TurnLog>) {
        if self.cluster.status() != Status::Alone {
            self.places().push(log.cursor(0));
            self.added.notify_one();
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Cursor>> {
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
        let (runs, places): (Vec<Run>, Vec<Cursor>) =
            self.places().iter().filter_map(|place| news(place.log(), place.offset())).unzip();
        let outcome = self.cluster.append(&runs).await;
        let mut known = self.places();
        if outcome.is_ok() {
            for place in &mut *known {
                let written = places.iter().find(|done| done.log().turn() == place.log().turn());
                if let Some(written) = written {
                    *place = place.log().cursor(written.offset());
                }
            }
        }
        // An ended log that Redis did not take is read from PostgreSQL.
        let open = |place: &Cursor| {
            let log = place.log();
            !log.ended() || (outcome.is_ok() && place.offset() < log.len())
        };
        known.retain(open);
        outcome
    }
}

/// What a log has from `offset` on, and the place behind it.
fn news(log: &Arc<TurnLog>, offset: usize) -> Option<(Run, Cursor)> {
    let last = log.ended(); // before reading: what comes between is read, too
    let (lines, end) = log.lines_from(offset);
    if lines.is_empty() {
        return None;
    }
    let run = Run { turn: log.turn(), writer: Writer::Owner, end, lines: Bytes::from(lines), last };
    Some((run, log.cursor(end)))
}
