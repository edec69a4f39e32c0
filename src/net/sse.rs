//! Server-sent events out of a stream of bytes, for servers that we do not trust.
//!
//! `eventsource-stream` does the field parsing; this file stands in front of it, because on its
//! own that parser panics on a stream that begins with a byte order mark, buffers one line (or one
//! stretch of bad UTF-8) without limit and scans a long line again for every chunk. So: bytes are
//! cut into complete, checked lines first, whatever the line ending, and each event has a cap.
//! Deliberately absent: reconnecting, and any meaning of the data.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use eventsource_stream::{EventStreamError, Eventsource as _};
use futures_util::{Stream, StreamExt as _, stream};
use thiserror::Error;
use tokio::time::timeout;

pub use eventsource_stream::Event;

/// Most bytes between two blank lines, comments not counted.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Events, and at most one error, which is last.
pub type EventStream<E> = Pin<Box<dyn Stream<Item = Result<Event, SseError<E>>> + Send>>;

/// Why a stream of events ended badly.
#[derive(Debug, Error)]
pub enum SseError<E> {
    /// One event, or one line, exceeds [`MAX_EVENT_BYTES`].
    #[error("an event is longer than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// Not one byte came for this long.
    #[error("no bytes for {after:?}")]
    Idle {
        /// The deadline that passed.
        after: Duration,
    },
    /// The stream is not UTF-8.
    #[error("the event stream is not UTF-8")]
    Utf8,
    /// A line that is no event stream line.
    #[error("the event stream cannot be parsed")]
    Syntax,
    /// The bytes themselves stopped with an error.
    #[error("the event stream broke off")]
    Transport(E),
}

/// How long a stream may be silent; a clone changes the limit of the stream that has the other.
#[derive(Debug, Clone)]
pub struct IdleLimit(Arc<AtomicU64>);

impl IdleLimit {
    /// A limit, rounded down to milliseconds.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(milliseconds(limit))))
    }

    /// Changes the limit for the waits that begin after this.
    pub fn set(&self, limit: Duration) {
        self.0.store(milliseconds(limit), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl From<Duration> for IdleLimit {
    fn from(limit: Duration) -> Self {
        Self::new(limit)
    }
}

fn milliseconds(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)
}

/// Decodes `bytes`. `idle` bounds the wait for each next chunk, comments included; time during
/// which the caller does not ask for events does not count unless a wait was already under way.
/// An event that the end of the stream cut in half is dropped, as the standard says.
pub fn events<S, E>(bytes: S, idle: impl Into<IdleLimit>) -> EventStream<E>
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Send + 'static,
{
    let lines = Lines {
        bytes: bytes.boxed(),
        idle: idle.into(),
        queue: Bytes::new(),
        assembler: Line::new(),
    };
    let lines = stream::try_unfold(lines, |mut lines| async move {
        Ok(lines.next().await?.map(|line| (line, lines)))
    });
    let mut failed = false;
    let events = lines.boxed().eventsource().take_while(move |event| {
        let go_on = !failed;
        failed = event.is_err();
        std::future::ready(go_on)
    });
    Box::pin(events.map(|event| event.map_err(flatten)))
}

fn flatten<E>(error: EventStreamError<SseError<E>>) -> SseError<E> {
    match error {
        EventStreamError::Transport(error) => error,
        EventStreamError::Utf8(_) => SseError::Utf8,
        EventStreamError::Parser(_) => SseError::Syntax,
    }
}

/// Chunks in, complete lines out.
struct Lines<E> {
    bytes: Pin<Box<dyn Stream<Item = Result<Bytes, E>> + Send>>,
    idle: IdleLimit,
    /// What is left of the last chunk.
    queue: Bytes,
    assembler: Line,
}

impl<E> Lines<E> {
    /// The next line, ending in one `\n` whatever it ended in before; `None` at the end.
    async fn next(&mut self) -> Result<Option<String>, SseError<E>> {
        loop {
            let (used, line) = self.assembler.feed(&self.queue).map_err(|defect| match defect {
                Defect::TooLong => SseError::TooLong,
                Defect::Utf8 => SseError::Utf8,
            })?;
            // `used` never exceeds the queue; `split_to` would panic if it did.
            let _ = self.queue.split_to(used.min(self.queue.len()));
            if line.is_some() {
                return Ok(line);
            }
            let after = self.idle.get();
            match timeout(after, self.bytes.next()).await {
                Ok(Some(Ok(chunk))) => self.queue = chunk,
                Ok(Some(Err(error))) => return Err(SseError::Transport(error)),
                Ok(None) => return Ok(None),
                Err(_elapsed) => return Err(SseError::Idle { after }),
            }
        }
    }
}

enum Defect {
    TooLong,
    Utf8,
}

/// The line under construction, and how much of an event went before it.
struct Line {
    text: Vec<u8>,
    /// Bytes of the finished lines of the event that is under way, comments left out.
    event_bytes: usize,
    /// The last line ended in `\r`: a `\n` that follows belongs to it.
    after_cr: bool,
    at_start: bool,
}

impl Line {
    fn new() -> Self {
        Self { text: Vec::new(), event_bytes: 0, after_cr: false, at_start: true }
    }

    /// Takes bytes up to the end of the current line: how many, and the line if that completed it.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(usize, Option<String>), Defect> {
        let mut used = 0;
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            if let Some(rest) = bytes.strip_prefix(b"\n") {
                bytes = rest;
                used += 1;
            }
        }
        let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let part = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        if self.event_bytes + self.text.len() + part.len() > MAX_EVENT_BYTES {
            return Err(Defect::TooLong);
        }
        self.text.extend_from_slice(part);
        used += part.len();
        let Some(end) = end else {
            return Ok((used, None));
        };
        self.after_cr = bytes.get(end) == Some(&b'\r');
        Ok((used + 1, Some(self.finish()?)))
    }

    fn finish(&mut self) -> Result<String, Defect> {
        let mut text = std::mem::take(&mut self.text);
        if std::mem::take(&mut self.at_start) && text.starts_with(BOM) {
            text.drain(..BOM.len());
        }
        if text.is_empty() {
            self.event_bytes = 0;
        } else if !text.starts_with(b":") {
            self.event_bytes += text.len();
        }
        text.push(b'\n');
        String::from_utf8(text).map_err(|_not_utf8| Defect::Utf8)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const SAMPLE: &str = "\u{feff}: hello\r\ndata: one\r\n\r\ndata: zwö\ndata:lf\n\n:x\n\
                          event: e\rdata: cr\r\rid: 7\r\ndata\r\n\r\ndata: cut";

    type Seen = Result<Vec<(String, String)>, String>;

    async fn decode(chunks: Vec<Vec<u8>>) -> Seen {
        let chunks = stream::iter(chunks.into_iter().map(|c| Ok::<_, Infallible>(Bytes::from(c))));
        let mut events = events(chunks, Duration::from_secs(1));
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| error.to_string())?;
            seen.push((event.event, event.data));
        }
        Ok(seen)
    }

    fn expected() -> Seen {
        let pairs = [("message", "one"), ("message", "zwö\nlf"), ("e", "cr"), ("message", "")];
        Ok(pairs.map(|(event, data)| (event.to_owned(), data.to_owned())).to_vec())
    }

    #[tokio::test]
    async fn every_split_gives_the_same_events() {
        let bytes = SAMPLE.as_bytes();
        for at in 0..=bytes.len() {
            let chunks = vec![bytes[..at].to_vec(), bytes[at..].to_vec()];
            assert_eq!(decode(chunks).await, expected(), "split at {at}");
        }
        assert_eq!(decode(bytes.iter().map(|b| vec![*b]).collect()).await, expected());
        assert_eq!(
            decode(bytes.iter().flat_map(|b| [vec![], vec![*b]]).collect()).await,
            expected()
        );
    }

    #[tokio::test]
    async fn an_event_over_the_cap_is_refused_in_any_shape() {
        let too_long = || Err::<Vec<_>, _>(SseError::<Infallible>::TooLong.to_string());
        let line = vec![b'x'; 100_000];
        assert_eq!(decode(vec![line.clone(); 11]).await, too_long());
        let data = [b"data: ".as_slice(), &line, b"\n"].concat();
        assert_eq!(decode(vec![data; 11]).await, too_long());
    }

    #[tokio::test]
    async fn a_big_event_and_endless_comments_pass() {
        let mut chunks = vec![b": keep-alive\n".repeat(10_000); 20];
        chunks.push(b"data: ".to_vec());
        chunks.extend(vec![vec![b'y'; 1000]; 1000]);
        chunks.push(b"\n\n".to_vec());
        let seen = decode(chunks).await.unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].1.len(), 1_000_000);
    }

    #[tokio::test]
    async fn bad_utf8_is_an_error_and_the_last_item() {
        for bad in [b"data: \xff\n\ndata: x\n\n".as_slice(), b"data: \xc3\ndata: \xa4\n\n"] {
            let chunks = stream::iter([Ok::<_, Infallible>(Bytes::from_static(bad))]);
            let all: Vec<_> = events(chunks, Duration::from_secs(1)).collect().await;
            assert_eq!(all.len(), 1);
            assert!(matches!(all[0], Err(SseError::Utf8)));
        }
    }

    #[tokio::test]
    async fn a_byte_order_mark_alone_is_an_empty_stream() {
        assert_eq!(decode(vec![BOM.to_vec()]).await, Ok(vec![]));
        assert_eq!(decode(vec![BOM[..2].to_vec()]).await, Ok(vec![]));
        assert_eq!(decode(vec![]).await, Ok(vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_an_error_but_a_slow_reader_is_not() {
        let chunks = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"data: a\n\n"))]);
        let later = stream::once(async { Ok(Bytes::from_static(b"data: b\n\n")) });
        let bytes = chunks.chain(later).chain(stream::pending());
        let mut events = events(bytes, Duration::from_secs(5));
        assert_eq!(events.next().await.unwrap().unwrap().data, "a");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(events.next().await.unwrap().unwrap().data, "b");
        let before = tokio::time::Instant::now();
        let error = events.next().await.unwrap().unwrap_err();
        assert!(matches!(error, SseError::Idle { .. }), "{error}");
        assert_eq!(before.elapsed(), Duration::from_secs(5));
        assert!(events.next().await.is_none());
    }

    #[tokio::test]
    async fn a_broken_transport_is_reported_once() {
        let bytes = stream::iter([Ok(Bytes::from_static(b"data: a\n\n")), Err("reset")]);
        let all: Vec<_> = events(bytes, Duration::from_secs(1)).collect().await;
        assert_eq!(all.len(), 2);
        assert!(matches!(all[1], Err(SseError::Transport("reset"))));
    }
}
