//! What `postmaster.pid` says, and how a server that an earlier docent left behind is ended.
//!
//! Invariant: only a process whose command line names our data folder is ever stopped. A process
//! id alone proves nothing, as they are used again (in containers, at once).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::account::Identity;
use super::error::DevError;
use super::home::Home;
use super::installation::Installation;
use super::tool;

/// The first lines of a `postmaster.pid`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    pub(super) port: Option<u16>,
    /// Whether it accepts connections.
    pub(super) ready: bool,
}

impl Postmaster {
    /// Reads the file in `pgdata`. `None` if there is none or it is not yet written.
    pub(super) fn read(pgdata: &Path) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(pgdata.join("postmaster.pid")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // pid, data folder, start time, port, socket folder, address, shared memory key, status
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        Some(Self {
            pid: lines.first()?.parse().ok()?,
            port: lines.get(3).and_then(|port| port.parse().ok()),
            ready: lines.get(7).is_some_and(|status| *status == "ready"),
        })
    }
}

/// Ends a server that still runs on `home`, which we have locked, and removes a `postmaster.pid`
/// whose server is gone.
pub(super) async fn clear(
    home: &Home,
    installation: &Installation,
    identity: &Identity,
) -> Result<(), DevError> {
    let pgdata = home.pgdata();
    let file = pgdata.join("postmaster.pid");
    if !file.exists() {
        return Ok(());
    }
    let alive =
        |old: &Postmaster| command_line(old.pid).is_some_and(|words| is_server_of(&words, &pgdata));
    let Some(old) = Postmaster::read(&pgdata).filter(alive) else {
        // PostgreSQL trusts the process id alone, so another program that has it now, or a zombie
        // that nobody reaps, would keep it from starting. Children of the dead server that still
        // run are found by PostgreSQL through their shared memory, without this file.
        return remove(&file);
    };
    tracing::info!("stopping the PostgreSQL that an earlier docent left behind (pid {})", old.pid);
    for (mode, seconds) in [("fast", "10"), ("immediate", "5")] {
        let mut command = tool::command(&installation.program("pg_ctl"), identity, &home.dir);
        command.args(["stop", "-s", "-w", "-m", mode, "-t", seconds]).arg("-D").arg(&pgdata);
        // It also fails when the server ends by itself in between; the look below decides.
        if let Err(error) = tool::run(command).await {
            tracing::debug!(%error, "pg_ctl stop -m {mode}");
        }
        if !alive(&old) {
            return remove(&file);
        }
    }
    // It is stopped or stuck. What it had written is recovered from its log at the next start, and
    // its children end when they see that it is gone.
    let mut command = tool::command(Path::new("/bin/sh"), identity, &home.dir);
    command.args(["-c", "kill -s KILL \"$1\"", "kill"]).arg(old.pid.to_string());
    tool::run(command).await?;
    for _ in 0..50 {
        if !alive(&old) {
            return remove(&file);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err(DevError::Lingering { pid: old.pid, data_dir: home.dir.clone() })
}

/// Removes a `postmaster.pid`, unless its server did so itself.
fn remove(file: &Path) -> Result<(), DevError> {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DevError::io("remove", file)(error))
        }
        _ => Ok(()),
    }
}

/// Whether these words started a server on `pgdata`.
fn is_server_of(words: &str, pgdata: &Path) -> bool {
    let argument = format!("-D {} ", pgdata.display());
    words.contains("postgres") && format!("{words} ").contains(&argument)
}

/// The command line of a living process, words separated by one space.
fn command_line(pid: u32) -> Option<String> {
    if Path::new("/proc/self/cmdline").exists() {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        // A zombie has an empty command line and will never answer.
        return (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).replace('\0', " "));
    }
    let output =
        Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid.to_string()]).output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    (!text.trim().is_empty()).then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_postmaster_pid() {
        let text = "4711\n/data/pgdata\n1790000000\n40123\n\n127.0.0.1\n  1234  5\nready   \n";
        let expected = Postmaster { pid: 4711, port: Some(40123), ready: true };
        assert_eq!(Postmaster::parse(text), Some(expected));
        let starting = Postmaster { pid: 4711, port: None, ready: false };
        assert_eq!(Postmaster::parse("4711\n/data/pgdata\n"), Some(starting));
        assert_eq!(Postmaster::parse(""), None);
    }

    #[test]
    fn sees_living_processes_only() {
        let words = command_line(std::process::id()).unwrap();
        assert!(!is_server_of(&words, Path::new("/data/pgdata")), "{words}");
        assert!(is_server_of("/x/bin/postgres -D /data/pgdata -c a=b", Path::new("/data/pgdata")));
        assert!(is_server_of("postgres -D /data/pgdata", Path::new("/data/pgdata")));
        assert!(!is_server_of("postgres -D /data/pgdata2", Path::new("/data/pgdata")));
        assert_eq!(command_line(u32::MAX), None);
    }
}
