//! Readers of a log: an offset each, and nothing else. One that is behind reads many parts at once.

use super::log::{Progress, TurnLog};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Parts that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    pub first_offset: usize,
    /// JSON, one part each; never empty.
    pub parts: Vec<Bytes>,
}

impl Batch {
    /// Each part with its offset.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Bytes)> {
        (self.first_offset..).zip(&self.parts)
    }
}

/// A reader's place in a log.
#[derive(Debug)]
pub struct Cursor {
    log: Arc<TurnLog>,
    next: usize,
    progress: watch::Receiver<Progress>,
    /// The terminal part was handed out.
    done: bool,
    /// The first batch since which none reached the end of the log.
    behind_since: Option<Instant>,
}

impl Cursor {
    pub(super) fn new(log: Arc<TurnLog>, next: usize, progress: watch::Receiver<Progress>) -> Self {
        Self { log, next, progress, done: false, behind_since: None }
    }

    /// The log this reads.
    #[must_use]
    pub fn log(&self) -> &Arc<TurnLog> {
        &self.log
    }

    /// The offset that comes next.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.next
    }

    /// Waits for parts; `None` after the terminal one. Dropping the future loses nothing.
    ///
    /// A reader can be ahead of the log: a node that died had shown parts that it had not written
    /// down, and the turn was closed without them. Such a reader is handed the terminal part, and so
    /// is one whose place is right behind an `error` part, because it may have seen another part
    /// there: nobody waits for ever, at the price that an error may be told twice.
    pub async fn next(&mut self) -> Option<Batch> {
        let next = self.next;
        let progress =
            self.progress.wait_for(|p| p.len > next || p.ended).await.ok().map(|p| *p)?;
        if progress.len <= next {
            let ahead = next > progress.len || progress.failed;
            if self.done || !ahead {
                return None;
            }
            self.next = progress.len.saturating_sub(1);
        }
        let batch = self.take_ready();
        let progress = *self.progress.borrow(); // as it is now that they were read
        self.done = progress.ended && self.next >= progress.len;
        self.behind_since = match self.next < self.log.len() {
            true => self.behind_since.or_else(|| Some(Instant::now())),
            false => None,
        };
        batch
    }

    /// True when nothing will come: the reader has the end of the log already.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let progress = *self.progress.borrow();
        progress.ended && !progress.failed && progress.len == self.next
    }

    /// How long this reader has been behind the log without catching up once.
    #[must_use]
    pub fn behind_for(&self) -> Duration {
        self.behind_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// What is there already, without waiting.
    pub fn take_ready(&mut self) -> Option<Batch> {
        let parts = self.log.read(self.next);
        if parts.is_empty() {
            return None;
        }
        let first_offset = self.next;
        self.next += parts.len();
        Some(Batch { first_offset, parts })
    }
}
