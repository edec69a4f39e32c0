//! The log of a turn.
//!
//! Parts have offsets 0, 1, 2, … and one terminal part is the last. A part is encoded once, when it
//! is appended. Nothing is queued per client: readers are cursors that wait for the length to grow.

use super::cursor::Cursor;
use super::part::Part;
use crate::types::TurnId;
use bytes::Bytes;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// At most this many parts, or about this many bytes, are handed to a reader at once.
const BATCH_PARTS: usize = 1024;
const BATCH_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) len: usize,
    pub(super) ended: bool,
    /// Ended with an `error` part.
    pub(super) failed: bool,
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
        let json = encode(part);
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

    /// Appends parts in order.
    pub(super) fn append_all(&self, parts: &[Part]) {
        parts.iter().for_each(|part| self.append(part));
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
        let next = if self.snapshot { 0 } else { offset };
        Cursor::new(Arc::clone(self), next, self.progress.subscribe())
    }

    /// The parts from `offset` on as JSON lines, and the offset after them.
    pub(super) fn lines_from(&self, offset: usize) -> (String, usize) {
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        (json_lines(parts.iter().skip(offset).cloned()), parts.len().max(offset))
    }

    /// A batch of parts from `from` on, of those that readers were told of: whoever reads the terminal one
    /// knows that it is.
    pub(super) fn read(&self, from: usize) -> Vec<Bytes> {
        let told = self.len();
        let parts = self.parts.read().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = 0;
        let fits = |part: &&Bytes| {
            let first = bytes == 0;
            bytes += part.len();
            first || bytes <= BATCH_BYTES
        };
        parts.iter().take(told).skip(from).take(BATCH_PARTS).take_while(fits).cloned().collect()
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

#[cfg(test)]
mod tests {
    use super::super::cursor::Batch;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

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
    fn what_is_only_just_written_is_not_read() {
        let log = TurnLog::new(TurnId::new());
        let mut cursor = log.cursor(0);
        log.append(&Part::delta("seen".into()));
        let error = encode(&Part::Error { error_text: "lost".into() });
        log.parts.write().unwrap().push(error);
        assert_eq!(cursor.take_ready().unwrap().parts.len(), 1, "nobody was told of the second");
        assert_eq!(cursor.take_ready(), None);
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
