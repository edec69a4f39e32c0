//! The server's side: starts a child per document, feeds it, and makes an error of whatever
//! becomes of it.
//!
//! Invariant: a call ends within the wall clock plus the wait for a place, with the child gone, and
//! neither a child that dies early nor one that floods its output can hold up or fill the server.
//! Nothing a child writes to standard error is logged, because it may quote the document.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::child::Reply;
use super::{ExtractError, Extracted, Format, Limits};

/// Standard error kept, in bytes: enough for the runtime's last words.
const LAST_WORDS: usize = 4096;

/// Reads documents in child processes. Clones share the places.
#[derive(Clone, Debug)]
pub struct Extractor {
    program: PathBuf,
    limits: Limits,
    places: Arc<Semaphore>,
}

/// What a child left behind.
struct Remains {
    output: Vec<u8>,
    last_words: Vec<u8>,
    status: ExitStatus,
}

impl Extractor {
    /// An extractor that starts `program` (this very binary) with `extract <format>`, at most
    /// `at_once` of them together: each may take a processor and its memory limit. Full: the caller
    /// waits, in the order of arrival.
    #[must_use]
    pub fn new(program: PathBuf, at_once: usize) -> Self {
        let places = Arc::new(Semaphore::new(at_once.max(1)));
        Self { program, limits: Limits::default(), places }
    }

    /// The same with another wall clock or output limit. What the child enforces on itself (pages,
    /// memory, processor time) stays as it is compiled in.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Reads one document. Dropping the future kills the child.
    ///
    /// # Errors
    /// What the child reported, or what its death means; [`ExtractError::Unavailable`] when it
    /// could not be started.
    pub async fn extract(&self, bytes: Bytes, format: Format) -> Result<Extracted, ExtractError> {
        if bytes.len() > self.limits.input_bytes {
            return Err(ExtractError::TooLargeFile { limit_bytes: self.limits.input_bytes });
        }
        let _place = self.places.acquire().await.map_err(|_closed| ExtractError::Unavailable)?;
        let mut child = self.start(format).map_err(|_not_started| ExtractError::Unavailable)?;
        match timeout(self.limits.wall, attend(&mut child, &bytes, &self.limits)).await {
            Ok(Ok(remains)) => verdict(&remains, &self.limits),
            Ok(Err(_)) => {
                let _ = child.kill().await;
                Err(ExtractError::Unavailable)
            }
            Err(_elapsed) => {
                let _ = child.kill().await;
                Err(ExtractError::TimedOut)
            }
        }
    }

    fn start(&self, format: Format) -> io::Result<Child> {
        Command::new(&self.program)
            .arg("extract")
            .arg(format.as_str())
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
    }
}

/// Feeds the child and listens to it at the same time, then waits for its end.
async fn attend(child: &mut Child, bytes: &[u8], limits: &Limits) -> io::Result<Remains> {
    let stdin = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let feed = async move {
        // A child that is gone has closed its end (EPIPE); why it went, its status tells.
        if let Some(mut stdin) = stdin {
            let _ = stdin.write_all(bytes).await;
        }
    };
    let (output, last_words, ()) = tokio::join!(
        read_at_most(stdout, limits.output_bytes() + 1),
        read_at_most(stderr, LAST_WORDS),
        feed
    );
    // A child that wrote more than we read would wait for us for ever.
    let _ = child.start_kill();
    let status = child.wait().await?;
    Ok(Remains { output: output?, last_words: last_words?, status })
}

/// Reads until the end or the limit, then closes the pipe: a child that writes on gets EPIPE.
async fn read_at_most(pipe: Option<impl AsyncRead + Unpin>, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// A whole reply counts however the child ended: both pipes are closed by then.
fn verdict(remains: &Remains, limits: &Limits) -> Result<Extracted, ExtractError> {
    if remains.output.len() <= limits.output_bytes() {
        match serde_json::from_slice(&remains.output) {
            Ok(Reply::Ok(extracted)) => return Ok(extracted),
            Ok(Reply::Err(error)) => return Err(error),
            Err(_incomplete) => {}
        }
    }
    Err(cause_of_death(remains))
}

/// What the signal and the runtime's last words say.
fn cause_of_death(remains: &Remains) -> ExtractError {
    const SIGKILL: i32 = 9;
    const SIGXCPU: i32 = 24;
    let said = |needle: &[u8]| remains.last_words.windows(needle.len()).any(|part| part == needle);
    if said(b"memory allocation of") {
        return ExtractError::OutOfMemory;
    }
    match remains.status.signal() {
        Some(SIGXCPU) => ExtractError::TimedOut,
        // The kernel's out-of-memory killer, or ours after the child had closed its pipes.
        Some(SIGKILL) => ExtractError::OutOfMemory,
        _ => ExtractError::Crashed,
    }
}
