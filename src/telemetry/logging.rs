//! Log lines: pretty for people, JSON for machines, to standard error.
//!
//! A thread of its own writes them: whoever reads the log may stall, and then lines are dropped and
//! counted, while the server goes on.

use crate::config::LogFormat;
use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Lines that wait for a reader that stalls: some 10 MB.
const WAITING: usize = 32_768;

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Dropping it writes what still waits, for a second at most.
#[must_use]
pub struct Logging {
    _flush: WorkerGuard,
}

/// Starts logging; a second call (tests) changes nothing.
///
/// # Errors
/// When the filter cannot be read; `info` is used then.
pub fn init(filter: &str, format: LogFormat) -> Result<Logging, String> {
    let parsed = EnvFilter::try_new(filter);
    let problem = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let writer = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING);
    let (writer, flush) = writer.thread_name("log").finish(std::io::stderr());
    let dropped = writer.error_counter();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(std::io::stderr().is_terminal());
    let outcome = match format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Pretty => registry.with(layer.compact().with_target(false)).try_init(),
    };
    if outcome.is_ok() {
        let _first = DROPPED.set(dropped); // already initialised: the first one stays
    }
    let logging = Logging { _flush: flush };
    match problem {
        Some(problem) => Err(format!("LOG is not a tracing filter: {problem}")),
        None => Ok(logging),
    }
}

/// Lines that nobody will read.
pub(super) fn dropped() -> u64 {
    DROPPED.get().map_or(0, |dropped| u64::try_from(dropped.dropped_lines()).unwrap_or(u64::MAX))
}
