//! A running PostgreSQL with pgvector: what the rest of docent sees of the embedded mode.
//!
//! The server lives exactly as long as the [`Cluster`]; the data lives on, unless it is throwaway.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Identity;
use super::error::DevError;
use super::folders;
use super::home::Home;
use super::installation::Installation;
use super::launch::{Launch, SUPERUSER};
use super::locate::{FETCHED_MAJOR, locate};
use super::postmaster;
use super::supervisor::{Order, Supervisor};
use super::tool;

/// How long a server may take to write its checkpoint and end, before it is made to.
const FAST_STOP: Duration = Duration::from_secs(10);
/// How long after that.
const IMMEDIATE_STOP: Duration = Duration::from_secs(5);

/// What kind of cluster to start, and where.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The folder for data, password and log; made if missing. As root it may have to be another
    /// one: see [`Cluster::data_dir`].
    pub data_dir: PathBuf,
    /// Delete existing data first (only in a folder that docent made).
    pub fresh: bool,
    /// For tests: nothing is written safely, many connections are allowed, and the whole folder is
    /// deleted when the server ends.
    pub throwaway: bool,
}

impl Options {
    /// A cluster in `data_dir` that keeps its data.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), fresh: false, throwaway: false }
    }

    /// Sets [`Options::fresh`].
    #[must_use]
    pub fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }

    /// Sets [`Options::throwaway`].
    #[must_use]
    pub fn throwaway(mut self, throwaway: bool) -> Self {
        self.throwaway = throwaway;
        self
    }
}

/// A running server. Dropping it, or the end of this process in any way, stops the server soon
/// after; [`Cluster::stop`] also waits for that.
pub struct Cluster {
    installation: Installation,
    identity: Identity,
    password: String,
    port: u16,
    // Before the lock: fields drop in this order, and the server must be told first.
    supervisor: Supervisor,
    home: Home,
}

impl fmt::Debug for Cluster {
    /// Without the password.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = out.debug_struct("Cluster");
        debug.field("home", &self.home.dir).field("port", &self.port).finish_non_exhaustive()
    }
}

impl Cluster {
    /// Finds or fetches PostgreSQL, makes the data folder if need be, recovers from whatever an
    /// earlier run left behind, and returns when connections are accepted.
    ///
    /// # Errors
    /// See [`DevError`]; each one says what to do about it.
    pub async fn start(options: Options) -> Result<Self, DevError> {
        let identity = Identity::current()?;
        let dir = folders::data(&options.data_dir, &identity)?;
        let home = Home::open(&dir, &identity)?;
        let made_by = home.made_by();
        let needed = if options.fresh { None } else { made_by };
        let installation = match locate(needed, &identity).await {
            Ok(installation) => installation,
            Err(error) => return Err(explain(error, needed, &home)),
        };
        postmaster::clear(&home, &installation, &identity).await?;
        if options.fresh {
            home.wipe()?;
        }
        let launch = Launch {
            home: &home,
            installation: &installation,
            identity: &identity,
            throwaway: options.throwaway,
        };
        let password = launch.prepare().await?;
        let (supervisor, port) = launch.start().await?;
        if options.throwaway {
            // Not earlier: a failed start is tried again in the same folder.
            home.make_throwaway(&identity)?;
        }
        Ok(Self { installation, identity, password, port, supervisor, home })
    }

    /// A `postgres://` URL of `database` for the superuser. It contains the password.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Makes sure that a database of this name exists (encoding UTF-8, owned by the superuser).
    ///
    /// # Errors
    /// [`DevError::BadName`] for a name that would need quoting; [`DevError::Tool`] if PostgreSQL
    /// refuses.
    pub async fn create_database_if_missing(&self, name: &str) -> Result<(), DevError> {
        if !is_plain_name(name) {
            return Err(DevError::BadName { name: name.to_owned() });
        }
        let program = self.installation.program("createdb");
        let mut command = tool::command(&program, &self.identity, &self.home.dir);
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", SUPERUSER, "-w"]);
        command.args(["--maintenance-db", "postgres", "--", name]);
        command.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10");
        match tool::run(command).await {
            // Two callers at once: the slower one finds the other's, one way or the other.
            Err(DevError::Tool { output, .. })
                if output.contains("already exists") || output.contains("pg_database_datname") =>
            {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// The folder that really holds the data. As root it differs from [`Options::data_dir`] when
    /// the account that runs PostgreSQL cannot reach that one.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.home.dir
    }

    /// The server's log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.home.log()
    }

    /// The port on 127.0.0.1; another one at each start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Which PostgreSQL runs; its `Display` is fit for a banner.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The account that runs PostgreSQL if it is not our own (we are root), for example `postgres`.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.identity.account.as_ref().map(|account| account.name.as_str())
    }

    /// Whether the server still runs. It ends before us only when something killed it.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.supervisor.ended().is_none()
    }

    /// Stops the server: ends connections and writes a checkpoint; if that takes more than ten
    /// seconds, at once. Returns when it has ended, after fifteen seconds in the worst case.
    pub async fn stop(mut self) {
        self.supervisor.order(Order::Fast);
        if self.supervisor.wait(FAST_STOP).await {
            return;
        }
        tracing::warn!("PostgreSQL does not stop by itself; stopping it at once");
        self.supervisor.order(Order::Immediate);
        if self.supervisor.wait(IMMEDIATE_STOP).await {
            return;
        }
        // Dropping the supervisor ends the pipe, and the script goes on to SIGKILL.
        tracing::warn!("PostgreSQL does not stop at all; it is being killed");
    }
}

/// Turns "nothing found" into "nothing found that fits your data", if there is data.
fn explain(error: DevError, needed: Option<u32>, home: &Home) -> DevError {
    match (error, needed) {
        // The version that can be fetched: then the ways out are the same as without data.
        (error, Some(FETCHED_MAJOR)) => error,
        (DevError::NotFound { looked_at, tried, .. }, Some(made_by)) => DevError::OtherVersion {
            data_dir: home.dir.clone(),
            made_by,
            detail: format!("{looked_at}{tried}").replace('\n', "; ").trim().to_owned(),
        },
        (error, _) => error,
    }
}

/// Whether a name means the same with and without quotes, in SQL and in a URL.
fn is_plain_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=63).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_into_a_static_cell() {
        fn shared<T: Send + Sync + 'static>() {}
        shared::<Cluster>();
    }

    #[test]
    fn plain_names_only() {
        assert!(is_plain_name("docent_dev_2"));
        for name in ["", "2x", "a b", "A", "x\"; DROP", "ä", &"x".repeat(64)] {
            assert!(!is_plain_name(name), "{name}");
        }
    }
}
