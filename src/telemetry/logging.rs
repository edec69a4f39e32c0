//! Log lines: pretty for people, JSON for machines, to standard error.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Starts logging; a second call (tests) changes nothing. A filter that cannot be read is reported
/// by the return value, and `info` is used.
pub fn init(filter: &str, format: LogFormat) -> Result<(), String> {
    let parsed = EnvFilter::try_new(filter);
    let problem = parsed.as_ref().err().map(ToString::to_string);
    let filter = parsed.unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let outcome = match format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Pretty => registry.with(layer.compact().with_target(false)).try_init(),
    };
    drop(outcome); // already initialised: the first one stays
    problem.map_or(Ok(()), |problem| Err(format!("LOG is not a tracing filter: {problem}")))
}
