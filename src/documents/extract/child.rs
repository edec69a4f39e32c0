//! The child's side: `docent extract <format>` reads a file from standard input and writes one line
//! of JSON, a [`Reply`].
//!
//! Invariant: the limits are in force before the first byte is read, and they can only be lowered
//! from there. Nothing else leaves the process: it opens no file, makes no connection, logs nothing.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::{ExtractError, Extracted, Format, Limits, document};

/// What the child writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// The document.
    Ok(Extracted),
    /// Why there is none.
    Err(ExtractError),
}

/// Runs the child: call it first thing in `main`, before a runtime or a thread is started.
///
/// The exit code is 0 whenever a reply was written, also one that says why the file cannot be read.
#[must_use]
pub fn run_child(format: Format) -> ExitCode {
    // A panic message may quote the document; the reply says all that anyone needs.
    std::panic::set_hook(Box::new(|_| {}));
    let limits = Limits::default();
    let reply = match read_input(&limits) {
        Ok(bytes) => in_thread(bytes, format, limits),
        Err(error) => Err(error),
    };
    let reply = reply.map_or_else(Reply::Err, Reply::Ok);
    match write_reply(&reply) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Lowers the limits, then reads standard input, at most one byte past the limit.
fn read_input(limits: &Limits) -> Result<Vec<u8>, ExtractError> {
    lower_limits(limits).map_err(|_refused| ExtractError::Unavailable)?;
    let mut bytes = Vec::new();
    let most = u64::try_from(limits.input_bytes).unwrap_or(u64::MAX).saturating_add(1);
    match io::stdin().lock().take(most).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(ExtractError::OutOfMemory),
        Err(_) => Err(ExtractError::Unavailable),
    }
}

/// Parses on a stack that is generous, so that deeply nested honest files pass, and bounded.
fn in_thread(bytes: Vec<u8>, format: Format, limits: Limits) -> Result<Extracted, ExtractError> {
    let stack = limits.stack_bytes;
    let parse = move || {
        // Only now, because this thread is the last thing that counts as a process. Not fatal:
        // the file still cannot make a Rust parser fork.
        let _ = set(Resource::Nproc, 0);
        document::extract(&bytes, format, &limits)
    };
    let thread = thread::Builder::new().name("extract".to_owned()).stack_size(stack).spawn(parse);
    match thread.map(thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(ExtractError::Crashed),
        Err(_) => Err(ExtractError::OutOfMemory),
    }
}

fn write_reply(reply: &Reply) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, reply)?;
    out.flush()
}

/// Puts the process under its limits. The standard streams are open already, so no more files.
fn lower_limits(limits: &Limits) -> io::Result<()> {
    set(Resource::As, limits.address_space_bytes)?;
    set(Resource::Core, 0)?;
    // Not 0, so that standard output may be a file when someone runs the child by hand.
    set(Resource::Fsize, u64::try_from(limits.output_bytes()).unwrap_or(u64::MAX))?;
    set(Resource::Nofile, 3)?;
    // The soft limit ends the process with SIGXCPU, which tells the parent what happened.
    let seconds = limits.cpu_seconds;
    let cpu = Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) };
    Ok(setrlimit(Resource::Cpu, cpu)?)
}

fn set(resource: Resource, value: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}
