//! One PostgreSQL on this machine: its programs, its version, its pgvector.
//!
//! An [`Installation`] exists only if it can serve docent: all programs are there, the versions are
//! new enough, and whoever runs PostgreSQL can reach it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Identity;

/// The oldest PostgreSQL that docent's schema works on.
pub(super) const MINIMUM_MAJOR: u32 = 15;
/// The oldest pgvector that will do, as (major, minor): `halfvec` came with 0.7, iterative scans
/// with 0.8.
const MINIMUM_VECTOR: (u32, u32) = (0, 8);
/// The programs that are run.
const PROGRAMS: [&str; 4] = ["postgres", "initdb", "pg_ctl", "createdb"];

/// A PostgreSQL with pgvector that docent can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The folder of the programs `postgres`, `initdb` and so on.
    pub bin: PathBuf,
    /// The major version, for example 18.
    pub major: u32,
    /// The whole version, for example `18.4`.
    pub version: String,
    /// The version of pgvector, for example `0.8.5`.
    pub pgvector: String,
}

impl Installation {
    /// Looks at the programs in `bin`. The error is a clause that says what is missing.
    pub(super) fn at(bin: &Path, identity: &Identity) -> Result<Self, String> {
        if let Some(missing) = PROGRAMS.iter().find(|name| !bin.join(name).is_file()) {
            return Err(format!("has no program {missing}"));
        }
        if !identity.can_reach(bin) {
            return Err("cannot be reached by the account that runs PostgreSQL".to_owned());
        }
        let printed = printed_by(Command::new(bin.join("postgres")).arg("--version"))
            .map_err(|reason| format!("does not run: {reason}"))?;
        let version = version_in(&printed).ok_or("does not tell its version")?.to_owned();
        let (major, _) = numbers(&version).ok_or("does not tell its version")?;
        if major < MINIMUM_MAJOR {
            return Err(format!("is PostgreSQL {version}, which is too old"));
        }
        let Some(control) = vector_control(bin, major) else {
            return Err(format!("is PostgreSQL {version} without pgvector"));
        };
        let pgvector = default_version(&control).ok_or("has a pgvector without a version")?;
        if numbers(pgvector).is_none_or(|version| version < MINIMUM_VECTOR) {
            return Err(format!("has pgvector {pgvector}, which is too old"));
        }
        Ok(Self { bin: bin.to_owned(), major, version, pgvector: pgvector.to_owned() })
    }

    /// The path of one of its programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bin, version, pgvector, .. } = self;
        write!(out, "PostgreSQL {version} with pgvector {pgvector} in {}", bin.display())
    }
}

/// Runs a command that prints one short text.
pub(super) fn printed_by(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(said.lines().next().unwrap_or("it failed without a word").to_owned())
    }
}

/// The text of `vector.control`, from where `pg_config` says or from where packagers put it.
fn vector_control(bin: &Path, major: u32) -> Option<String> {
    let told = printed_by(Command::new(bin.join("pg_config")).arg("--sharedir")).ok();
    let prefix = bin.parent()?;
    let guesses = [
        prefix.join("share/postgresql"),
        prefix.join("share"),
        PathBuf::from(format!("/usr/share/postgresql/{major}")),
    ];
    told.map(PathBuf::from)
        .into_iter()
        .chain(guesses)
        .find_map(|share| std::fs::read_to_string(share.join("extension/vector.control")).ok())
}

/// `18.4` in `postgres (PostgreSQL) 18.4 (Debian 18.4-1)`.
fn version_in(printed: &str) -> Option<&str> {
    printed.split_once("(PostgreSQL)")?.1.split_whitespace().next()
}

/// Major and minor of `18.4`, `18beta1` or `0.8.5`; a missing minor counts as 0.
pub(super) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|character: char| !character.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// `0.8.5` in the line `default_version = '0.8.5'`.
fn default_version(control: &str) -> Option<&str> {
    control.lines().find_map(|line| {
        let value = line.trim().strip_prefix("default_version")?.trim_start().strip_prefix('=')?;
        Some(value.trim().trim_matches('\''))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        assert_eq!(version_in("postgres (PostgreSQL) 15.18 (Debian 15.18-0)"), Some("15.18"));
        assert_eq!(version_in("postgres (PostgreSQL) 19devel"), Some("19devel"));
        assert_eq!(version_in("zsh: command not found"), None);
        assert_eq!(numbers("18.4"), Some((18, 4)));
        assert_eq!(numbers("19devel"), Some((19, 0)));
        assert_eq!(numbers("0.8.5"), Some((0, 8)));
        assert_eq!(numbers("x"), None);
        assert!(numbers("0.4.0") < Some(MINIMUM_VECTOR));
    }

    #[test]
    fn reads_a_control_file() {
        let control = "comment = 'vector'\ndefault_version = '0.8.5'\nrelocatable = true\n";
        assert_eq!(default_version(control), Some("0.8.5"));
        assert_eq!(default_version("comment = 'x'"), None);
    }

    #[test]
    fn an_empty_folder_is_no_installation() {
        let identity = Identity::current().unwrap();
        let reason = Installation::at(Path::new("/nonexistent"), &identity).unwrap_err();
        assert_eq!(reason, "has no program postgres");
    }
}
