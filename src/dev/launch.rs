//! Makes a new cluster, and brings its server up on a free port.
//!
//! Invariant: `pgdata` appears by a rename after `initdb` has succeeded and the password is on
//! disk, so an interrupted first start leaves nothing half-made behind.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::account::Identity;
use super::error::DevError;
use super::home::{self, Home};
use super::installation::Installation;
use super::postmaster::Postmaster;
use super::settings::{self, settings};
use super::supervisor::Supervisor;
use super::tool;

/// The superuser's name.
pub(super) const SUPERUSER: &str = "postgres";
/// Recovery of a large database after a crash may take a while.
const PATIENCE: Duration = Duration::from_secs(120);
/// Starts that are tried when the port was taken or the dead server's children still linger.
const ATTEMPTS: u32 = 20;

/// What a start needs to know.
pub(super) struct Launch<'a> {
    pub(super) home: &'a Home,
    pub(super) installation: &'a Installation,
    pub(super) identity: &'a Identity,
    pub(super) throwaway: bool,
}

/// Why one start failed.
enum Setback {
    /// Worth another try after a moment.
    Passing,
    /// Not.
    Final(DevError),
}

impl From<DevError> for Setback {
    fn from(error: DevError) -> Self {
        Self::Final(error)
    }
}

impl Launch<'_> {
    /// Runs `initdb` if there is no data yet. Returns the superuser's password.
    pub(super) async fn prepare(&self) -> Result<String, DevError> {
        let pgdata = self.home.pgdata();
        if pgdata.exists() {
            return self.home.password();
        }
        let unfinished = self.home.unfinished();
        let password = self.home.new_password()?;
        // Only PostgreSQL's account may read it, and only until initdb has.
        let pwfile = self.home.dir.join("initdb.password");
        if pwfile.exists() {
            std::fs::remove_file(&pwfile).map_err(DevError::io("delete", &pwfile))?;
        }
        home::write_private(&pwfile, &password)?;
        let made = match self.identity.hand_over(&pwfile) {
            Ok(()) => self.initdb(&unfinished, &pwfile).await,
            Err(error) => Err(error),
        };
        std::fs::remove_file(&pwfile).map_err(DevError::io("delete", &pwfile))?;
        made?;
        let hba = unfinished.join("pg_hba.conf");
        std::fs::write(&hba, settings::HBA).map_err(DevError::io("write", &hba))?;
        std::fs::rename(&unfinished, &pgdata).map_err(DevError::io("finish", &pgdata))?;
        Ok(password)
    }

    /// Tries one locale after another: which ones a system has differs.
    async fn initdb(&self, unfinished: &Path, pwfile: &Path) -> Result<(), DevError> {
        for locale in ["C.UTF-8", "en_US.UTF-8"] {
            match self.initdb_with(locale, unfinished, pwfile).await {
                Err(DevError::Tool { output, .. }) if output.contains("invalid locale") => {}
                other => return other,
            }
        }
        self.initdb_with("C", unfinished, pwfile).await
    }

    async fn initdb_with(
        &self,
        locale: &str,
        unfinished: &Path,
        pwfile: &Path,
    ) -> Result<(), DevError> {
        if unfinished.exists() {
            std::fs::remove_dir_all(unfinished).map_err(DevError::io("delete", unfinished))?;
        }
        std::fs::create_dir(unfinished).map_err(DevError::io("create", unfinished))?;
        self.identity.hand_over(unfinished)?;
        tool::run(self.initdb_command(unfinished, pwfile, locale)).await.map(drop)
    }

    fn initdb_command(&self, unfinished: &Path, pwfile: &Path, locale: &str) -> Command {
        let program = self.installation.program("initdb");
        let mut command = tool::command(&program, self.identity, &self.home.dir);
        command.arg("-D").arg(unfinished).arg("--pwfile").arg(pwfile);
        command.args(["-U", SUPERUSER, "-E", "UTF8", "-A", "scram-sha-256"]);
        command.arg(format!("--locale={locale}"));
        if self.installation.major >= 17 {
            // The same order and case rules on every system.
            command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
        }
        if self.throwaway {
            command.arg("--no-sync");
        }
        if self.throwaway && self.installation.major >= 16 {
            // Each connection of an unoptimised test would spend long on hashing a password, whose
            // 256 random bits need no stretching. (Kept clusters stay usual: some clients insist.)
            command.args(["--set", "scram_iterations=1"]);
        }
        command
    }

    /// Starts the server. No old `postmaster.pid` may be left.
    pub(super) async fn start(&self) -> Result<(Supervisor, u16), DevError> {
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            match self.attempt(port, attempt < ATTEMPTS).await {
                Ok(supervisor) => return Ok((supervisor, port)),
                Err(Setback::Final(error)) => return Err(error),
                Err(Setback::Passing) => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
        }
    }

    async fn attempt(&self, port: u16, may_repeat: bool) -> Result<Supervisor, Setback> {
        let (log, log_start) = self.home.open_log()?;
        let mut server = Command::new(self.installation.program("postgres"));
        server.arg("-D").arg(self.home.pgdata());
        for setting in settings(port, self.throwaway) {
            server.arg("-c").arg(setting);
        }
        let mut supervisor = Supervisor::start(&server, &self.home.dir, log, self.identity)?;
        let began = Instant::now();
        let mut next_report = Duration::from_secs(5);
        loop {
            if Postmaster::read(&self.home.pgdata())
                .is_some_and(|postmaster| postmaster.ready && postmaster.port == Some(port))
            {
                return Ok(supervisor);
            }
            let ended = supervisor.ended().is_some();
            if ended || began.elapsed() > PATIENCE {
                let said = self.said_since(log_start);
                let passing = ended && may_repeat && is_passing(&said);
                return Err(if passing {
                    Setback::Passing
                } else {
                    self.not_started(&said).into()
                });
            }
            if began.elapsed() >= next_report {
                let seconds = began.elapsed().as_secs();
                tracing::info!("PostgreSQL is still starting ({seconds} s) ...");
                next_report = began.elapsed() + Duration::from_secs(5);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn not_started(&self, said: &str) -> DevError {
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n");
        DevError::NotStarted { hint: hint(said).to_owned(), log: self.home.log(), tail }
    }

    /// What the log has gained since it was `start` bytes long.
    fn said_since(&self, start: u64) -> String {
        let bytes = std::fs::read(self.home.log()).unwrap_or_default();
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
    }
}

/// Whether the server ended for a reason that passes: another program took the port first, or the
/// children of a server killed with -9 have not all noticed yet.
fn is_passing(said: &str) -> bool {
    ["could not bind", "could not create any TCP/IP sockets", "shared memory block"]
        .iter()
        .any(|reason| said.contains(reason))
}

fn hint(said: &str) -> &'static str {
    if said.contains("No space left on device") {
        "the disk is full."
    } else if said.contains("Permission denied") {
        "it may not read or write one of its files; does the whole data folder belong to one user?"
    } else if said.contains("PANIC") || said.contains("invalid checkpoint") {
        "the data is damaged. Start with --fresh to delete it and begin again."
    } else if said.contains("unrecognized configuration parameter") {
        "a line in pgdata/postgresql.conf is wrong, or this PostgreSQL is not a usual one."
    } else if said.contains("could not load library") || said.contains("shared libraries") {
        "this PostgreSQL is not installed completely; reinstall it or set DATABASE_URL to another."
    } else {
        "see below. If the data does not matter, starting with --fresh deletes it and begins again."
    }
}

/// A port that is free now. Another program may still be quicker.
fn free_port() -> Result<u16, DevError> {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address.map_err(DevError::io("find a free port on", Path::new("127.0.0.1")))?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_failures_pass() {
        assert!(is_passing("LOG:  could not bind IPv4 address \"127.0.0.1\": Address in use"));
        assert!(is_passing(
            "FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use"
        ));
        assert!(!is_passing("FATAL:  data directory has wrong ownership"));
        assert!(hint("could not write: No space left on device").contains("disk"));
    }
}
