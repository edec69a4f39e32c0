//! Runs one of PostgreSQL's own programs: clean environment, right account, output kept.
//!
//! The environment is rebuilt instead of inherited, so that a stray `PGHOST` or `PGSSLMODE` changes
//! nothing and our own API keys do not end up in the server's environment.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::account::Identity;
use super::error::DevError;

/// Variables that PostgreSQL's programs may keep: where to find programs and libraries.
const KEPT: [&str; 6] =
    ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "NIX_LD", "NIX_LD_LIBRARY_PATH"];

/// A command for `program`, run by whoever runs PostgreSQL, in `folder`.
pub(super) fn command(program: &Path, identity: &Identity, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    // Messages are compared with English ones below. Our own working folder may be closed to the
    // account that runs PostgreSQL, so the child gets one that is open.
    command.env("LC_ALL", "C").current_dir(folder).stdin(std::process::Stdio::null());
    identity.apply(&mut command);
    command
}

/// Runs `command` to its end and returns what it printed.
pub(super) async fn run(mut command: Command) -> Result<String, DevError> {
    let program = Path::new(command.get_program()).to_owned();
    let failed_to_run = DevError::io("run", &program);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .map_err(std::io::Error::other)
        .and_then(|result| result)
        .map_err(failed_to_run)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(DevError::Tool {
        program: program.file_name().unwrap_or(OsStr::new("?")).to_string_lossy().into_owned(),
        outcome: output.status.to_string(),
        output: format!("{}\n{}", text(&output.stdout), text(&output.stderr)).trim().to_owned(),
    })
}
