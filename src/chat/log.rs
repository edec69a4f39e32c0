//! The log of a turn, and cursors into it.
//!
//! Parts have offsets 0, 1, 2, … and one terminal part is the last. A part is encoded once, when it
//! is appended. Nothing is queued per client: a cursor is an offset that waits for the length to
//! grow, and one that is behind reads many parts at once. One writer, any number of readers.

use super::part::Part;
use crate::types::TurnId;
use bytes::Bytes;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// At most this many parts, or about this many bytes, are handed to a reader at once.
const BATCH_PARTS: usize = 1024;
const BATCH_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    len: usize,
    ended: bool,
    /// Ended with an `error` part.
    failed: bool,
}

/// An append-only sequence of encoded parts.
#[derive(Debug)]
pub struct TurnLog {
    turn: TurnId,
    snapshot: bool,
    parts: RwLock<Vec<Bytes>>,
    progress: watch::Sender<Progress>,
}

impl TurnLog {
    /// An empty log.
    #[must_use]
    pub fn new(turn: TurnId) -> Arc<Self> {
        Arc::new(Self::with(turn, false))
    }

    /// An empty log for the stored message of a turn whose own log is gone: its offsets are not
    /// those of that log, so every reader begins at its beginning.
    #[must_use]
    pub fn snapshot(turn: TurnId) -> Arc<Self> {
        Arc::new(Self::with(turn, true))
    }

    fn with(turn: TurnId, snapshot: bool) -> Self {
        let (progress, _) = watch::channel(Progress::default());
        Self { turn, snapshot, parts: RwLock::default(), progress }
    }

    /// The turn this is the log of.
    #[must_use]
    pub fn turn(&self) -> TurnId {
        self.turn
    }

    /// Appends a part; after the terminal one nothing is taken any more.
    pub fn append(&self, part: &Part) {
        self.append_encoded(encode(part), part);
    }

    /// Appends a part that is encoded already.
    pub(super) fn append_encoded(&self, json: Bytes, part: &Part) {
        if self.progress.borrow().ended {
            return;
        }
        let len = {
            let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
            parts.push(json);
            parts.len()
        };
        let (ended, failed) = (part.is_terminal(), matches!(part, Part::Error { .. }));
        self.progress.send_replace(Progress { len, ended, failed });
    }

    /// Appends what is new of parts that another node wrote, given as JSON lines that begin at
    /// offset `first`; false when parts before them are missing. More than one may copy at a time.
    pub(super) fn copy(&self, first: usize, lines: &str) -> bool {
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        if self.ended() {
            return true;
        }
        let Some(known) = parts.len().checked_sub(first) else { return false };
        let fresh = lines.lines().skip(known);
        parts.extend(fresh.map(|line| Bytes::copy_from_slice(line.as_bytes())));
        let end = lines.lines().next_back().and_then(ending);
        let last = parts.last().and_then(|part| ending(&String::from_utf8_lossy(part)));
        if let (Some(_), None, Some(line)) = (end, last, lines.lines().next_back()) {
            // Closed by somebody who knew less than we do: the end is told all the same.
            parts.push(Bytes::copy_from_slice(line.as_bytes()));
        }
        let progress = Progress {
            len: parts.len(),
            ended: end.is_some(),
            failed: end == Some(Ending::Failed),
        };
        self.progress.send_replace(progress);
        true
    }

    /// How many parts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.progress.borrow().len
    }

    /// True before the first part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True once the terminal part is there.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.progress.borrow().ended
    }

    /// Waits for the terminal part.
    pub async fn wait_ended(&self) {
        // The sender lives in self, so the wait cannot fail.
        drop(self.progress.subscribe().wait_for(|progress| progress.ended).await);
    }

    /// A reader that begins at `offset`.
    #[must_use]
    pub fn cursor(self: &Arc<Self>, offset: usize) -> Cursor {
        let progress = self.progress.subscribe();
        let next = if self.snapshot { 0 } else { offset };
        Cursor { log: Arc::clone(self), next, progress, done: false, behind_since: None }
    }

    /// The parts from `offset` on as JSON lines, and the offset after them.
    pub(super) fn lines_from(&self, offset: usize) -> (String, usize) {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        (json_lines(parts.iter().skip(offset).cloned()), parts.len().max(offset))
    }

    fn read(&self, from: usize) -> Vec<Bytes> {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fits = |part: &&Bytes| {
            let first = bytes == 0;
            bytes += part.len();
            first || bytes <= BATCH_BYTES
        };
        parts.iter().skip(from).take(BATCH_PARTS).take_while(fits).cloned().collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Well,
    Failed,
}

/// Whether an encoded part is a terminal one.
fn ending(line: &str) -> Option<Ending> {
    const TERMINAL: [&str; 3] = [r#"{"type":"finish""#, r#"{"type":"abort""#, r#"{"type":"error""#];
    let place = TERMINAL.iter().position(|start| line.starts_with(start))?;
    Some(if place == 2 { Ending::Failed } else { Ending::Well })
}

/// Encodes a part as JSON.
pub(super) fn encode(part: &Part) -> Bytes {
    // Serialising our own enum into memory cannot fail; an empty object would be seen at once.
    serde_json::to_vec(part).map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

/// Encoded parts as a segment keeps them: one a line.
pub(super) fn json_lines(parts: impl IntoIterator<Item = Bytes>) -> String {
    let mut lines = String::new();
    for part in parts {
        lines.push_str(&String::from_utf8_lossy(&part));
        lines.push('\n');
    }
    lines
}

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
        self.done = progress.ended && self.next >= progress.len;
        self.behind_since = match self.next < self.log.len() {
            true => self.behind_since.or_else(|| Some(Instant::now())),
            false => None,
        };
        batch
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    async fn read_all(mut cursor: Cursor) -> Vec<(usize, Bytes)> {
        let mut seen = Vec::new();
        while let Some(batch) = cursor.next().await {
            seen.extend(batch.iter().map(|(offset, part)| (offset, part.clone())));
        }
        seen
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a test has no Tasks")]
    async fn a_late_reader_sees_what_an_early_one_saw() {
        let log = TurnLog::new(TurnId::new());
        let early = tokio::spawn(read_all(log.cursor(0)));
        for n in 0..1000 {
            log.append(&Part::delta(n.to_string()));
            if n % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        log.append(&Part::Finish {});
        log.append(&Part::Abort {}); // too late: one terminal part, last
        let early = early.await.unwrap();
        assert_eq!(early.len(), 1001);
        assert!(early.iter().enumerate().all(|(n, (offset, _))| n == *offset));
        assert_eq!(read_all(log.cursor(0)).await, early);
        assert_eq!(read_all(log.cursor(997)).await, early[997..]);
        assert_eq!(read_all(log.cursor(1001)).await, [], "it has seen the end");
        assert_eq!(read_all(log.cursor(5000)).await, early[1000..], "it must not wait for ever");
    }

    #[tokio::test]
    async fn a_reader_behind_an_error_is_told_again() {
        let log = TurnLog::new(TurnId::new());
        let ahead = log.cursor(2);
        log.append(&Part::delta("seen".into()));
        log.append(&Part::Error { error_text: "lost".into() });
        assert_eq!(read_all(ahead).await.len(), 1, "it saw another part at offset 1");
        assert_eq!(read_all(log.cursor(0)).await.len(), 2, "once is enough for who sees it come");
    }

    #[test]
    fn copies_from_two_sources_become_one_log() {
        let log = TurnLog::new(TurnId::new());
        let line = |n: usize| {
            format!("{}\n", String::from_utf8_lossy(&encode(&Part::delta(n.to_string()))))
        };
        let lines = |range: std::ops::Range<usize>| range.map(line).collect::<String>();
        assert!(log.copy(0, &lines(0..3)));
        assert!(!log.copy(5, &lines(5..6)), "3 and 4 are missing");
        assert!(log.copy(1, &lines(1..5)), "what is known is skipped");
        assert!(log.copy(0, &lines(0..2)));
        assert_eq!(log.len(), 5);
        let end = r#"{"type":"error","errorText":"lost"}"#;
        assert!(log.copy(3, end), "closed by who saw three parts only");
        assert!(log.ended());
        let mut cursor = log.cursor(0);
        let parts = cursor.take_ready().unwrap().parts;
        assert_eq!(parts[..5].concat(), lines(0..5).replace('\n', "").as_bytes());
        assert_eq!(parts[5], end.as_bytes());
        assert!(log.copy(6, &lines(6..7)));
        assert_eq!(log.len(), 6, "nothing comes after the end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_behind_until_it_catches_up() {
        let log = TurnLog::new(TurnId::new());
        (0..=BATCH_PARTS).for_each(|n| log.append(&Part::delta(n.to_string())));
        let mut cursor = log.cursor(0);
        cursor.next().await;
        let second = Duration::from_secs(1);
        tokio::time::advance(second).await;
        assert_eq!(cursor.behind_for(), second, "one part is left");
        (0..=BATCH_PARTS).for_each(|n| log.append(&Part::delta(n.to_string())));
        cursor.next().await;
        tokio::time::advance(second).await;
        assert_eq!(cursor.behind_for(), 2 * second, "reading is not catching up");
        cursor.next().await;
        assert_eq!(cursor.behind_for(), Duration::ZERO);
    }

    /// What a reader makes of what it is sent: the text, and all else with its offset.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Seen {
        text: String,
        others: Vec<(usize, Part)>,
        next: usize,
    }

    impl Seen {
        fn from(next: usize) -> Self {
            Self { next, ..Self::default() }
        }

        fn see(&mut self, batch: &Batch) {
            for span in batch.spans() {
                assert_eq!(span.first, self.next, "nothing is missing and nothing comes twice");
                self.next = span.last + 1;
                match serde_json::from_slice(&span.part).unwrap() {
                    Part::TextDelta { delta, .. } => self.text.push_str(&delta),
                    other => self.others.push((span.last, other)),
                }
            }
        }
    }

    proptest! {
        /// Any interleaving of appends and of readers that come, go, come back and read slowly gives
        /// every reader the same text and the same other parts.
        #[test]
        fn every_reader_sees_the_same_turn(
            steps in prop::collection::vec((0u8..10, 0usize..40), 1..200)
        ) {
            let log = TurnLog::new(TurnId::new());
            let mut readers: Vec<(usize, Cursor, Seen)> = Vec::new();
            let mut written: Vec<Part> = Vec::new();
            for (step, pick) in steps {
                let n = readers.len();
                match step {
                    0..4 => {
                        let more = (0..=pick).map(|k| Part::delta(format!("{k}\"é\u{1}")));
                        let more: Vec<Part> = more.collect();
                        more.iter().for_each(|part| log.append(part));
                        written.extend(more);
                    }
                    4 => {
                        let part = Part::TextEnd { id: pick.to_string() };
                        log.append(&part);
                        written.push(part);
                    }
                    5 => {
                        let from = pick.min(written.len());
                        readers.push((from, log.cursor(from), Seen::from(from)));
                    }
                    6 if n > 0 => drop(readers.swap_remove(pick % n)),
                    7 if n > 0 => {
                        let (_, cursor, seen) = &mut readers[pick % n];
                        *cursor = log.cursor(seen.next); // it left, and comes back
                    }
                    _ if n > 0 => {
                        let (_, cursor, seen) = &mut readers[pick % n];
                        cursor.take_ready().iter().for_each(|batch| seen.see(batch));
                    }
                    _ => {}
                }
            }
            log.append(&Part::Finish {});
            written.push(Part::Finish {});
            for (from, mut cursor, mut seen) in readers {
                while let Some(batch) = cursor.take_ready() {
                    seen.see(&batch);
                }
                let mut expected = Seen::from(from);
                let parts = written[from..].iter().map(encode).collect();
                for (offset, part) in (Batch { first_offset: from, parts }).iter() {
                    let parts = vec![part.clone()];
                    expected.see(&Batch { first_offset: offset, parts });
                }
                prop_assert_eq!(seen, expected);
            }
        }
    }
}
