//! Redis streams as copies of turn logs.
//!
//! An entry's id is `<writer>-<end>`: `end` is the offset after its last part. Redis takes only ids
//! that grow, and that is the fence: a repeated run is refused, and once the writer that closes a
//! dead node's turn has written, whatever the node still sends is refused for ever.

use crate::types::TurnId;
use bb8_redis::redis::{Pipeline, RedisError, RedisResult, Value};
use bytes::Bytes;
use std::time::Duration;

/// So many runs are kept of a log; the beginning of a longer one is in PostgreSQL by then.
const KEPT_RUNS: usize = 2_000;
/// A log that nobody writes any more disappears.
const RUNNING: Duration = Duration::from_secs(1_800);
/// Readers of an ended log need it for moments; later it is read from PostgreSQL.
const ENDED: Duration = Duration::from_secs(120);

/// Who writes; the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Writer {
    /// The node that runs the turn.
    Owner = 1,
    /// Whoever closes it after that node died.
    Closer = 2,
}

/// Consecutive parts of a turn's log.
#[derive(Clone, Debug)]
pub struct Run {
    pub turn: TurnId,
    pub writer: Writer,
    /// The offset after the last part.
    pub end: usize,
    /// JSON lines, one part each.
    pub lines: Bytes,
    /// Nothing comes after it.
    pub last: bool,
}

impl Run {
    /// The offset of its first part.
    #[must_use]
    pub fn first(&self) -> usize {
        self.end.saturating_sub(self.lines.split(|byte| *byte == b'\n').count().saturating_sub(1))
    }

    pub(super) fn append(&self, pipe: &mut Pipeline) {
        let key = log_key(self.turn);
        let expiry = if self.last { ENDED } else { RUNNING };
        pipe.cmd("XADD")
            .arg(&key)
            .arg("MAXLEN")
            .arg("~")
            .arg(KEPT_RUNS)
            .arg(format!("{}-{}", self.writer as u8, self.end))
            .arg("p")
            .arg(self.lines.as_ref());
        pipe.cmd("EXPIRE").arg(&key).arg(expiry.as_secs());
    }
}

/// Of a turn's log.
pub(super) fn log_key(turn: TurnId) -> String {
    format!("docent:turn:{turn}")
}

/// Whether an append was refused because something later is there already.
pub(super) fn is_fenced(outcome: &RedisResult<Value>) -> bool {
    let said = |error: &RedisError| {
        error.detail().is_some_and(|detail| detail.contains("equal or smaller"))
    };
    outcome.as_ref().is_err_and(said)
}

/// The offset after an entry's last part.
#[must_use]
pub fn end_of(id: &str) -> usize {
    id.split_once('-').and_then(|(_, end)| end.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_where_it_begins() {
        let run = |lines: &'static str, end| Run {
            turn: TurnId::new(),
            writer: Writer::Owner,
            end,
            lines: Bytes::from_static(lines.as_bytes()),
            last: false,
        };
        assert_eq!(run("{}\n{}\n{}\n", 10).first(), 7);
        assert_eq!(run("", 4).first(), 4);
        assert_eq!(end_of("1-10"), 10);
    }
}
