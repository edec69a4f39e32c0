//! The data folder of a cluster: who may use it, and what is where in it.
//!
//! ```text
//! <data folder>/docent.marker   we made this folder: `fresh` may delete what is below
//!               docent.throwaway  (tests only) the supervising script deletes the folder
//!               lock            held while a docent uses it; contains its process id
//!               password        the superuser's, mode 0600
//!               pgdata/         PostgreSQL's own; appears only when complete
//!               postgres.log    appended to; the previous one is postgres.log.1
//! ```
//!
//! Invariant: without the marker nothing in a folder is changed or deleted.

use std::fs::{File, Permissions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::Identity;
use super::error::DevError;
use super::folders;

pub(super) const MARKER: &str = "docent.marker";
pub(super) const LOCK: &str = "lock";
/// Known to the supervising script under this name.
const THROWAWAY: &str = "docent.throwaway";
const MARKER_TEXT: &str = "The development database of docent. `docent dev --fresh` deletes it.\n";
/// A log longer than this is put aside at the next start.
const LOG_BYTES: u64 = 8 * 1024 * 1024;
/// A password is this many random bytes, written as twice as many hexadecimal digits.
const PASSWORD_BYTES: usize = 32;

/// A data folder that is ours and locked by us; dropping it lets go of the lock.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Opens or makes the data folder and locks it.
    pub(super) fn open(dir: &Path, identity: &Identity) -> Result<Self, DevError> {
        folders::make(dir, identity)?;
        // PostgreSQL compares real paths, and a link must not lead two docents to one folder.
        let dir = dir.canonicalize().map_err(DevError::io("find the folder", dir))?;
        let marker = dir.join(MARKER);
        if !marker.exists() && !is_new(&dir)? {
            let reason = "it has other files and no docent.marker";
            return Err(DevError::NotOurs { dir, reason });
        }
        let lock = lock(&dir)?;
        std::fs::write(&marker, MARKER_TEXT).map_err(DevError::io("write", &marker))?;
        // Left by a test cluster that was killed whole; it must not cost the data of a kept one.
        let throwaway = dir.join(THROWAWAY);
        gone(std::fs::remove_file(&throwaway)).map_err(DevError::io("delete", &throwaway))?;
        Ok(Self { dir, _lock: lock })
    }

    /// PostgreSQL's own folder.
    pub(super) fn pgdata(&self) -> PathBuf {
        self.dir.join("pgdata")
    }

    /// Where a new cluster grows until it is complete.
    pub(super) fn unfinished(&self) -> PathBuf {
        self.dir.join("pgdata.new")
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }

    /// The major version that made the data, if there is data.
    pub(super) fn made_by(&self) -> Option<u32> {
        std::fs::read_to_string(self.pgdata().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// Deletes the data and the log. No server may be running on it.
    pub(super) fn wipe(&self) -> Result<(), DevError> {
        for folder in [self.pgdata(), self.unfinished()] {
            gone(std::fs::remove_dir_all(&folder)).map_err(DevError::io("delete", &folder))?;
        }
        for name in ["password", "postgres.log", "postgres.log.1"] {
            let file = self.dir.join(name);
            gone(std::fs::remove_file(&file)).map_err(DevError::io("delete", &file))?;
        }
        Ok(())
    }

    /// Lets the supervising script delete this folder when the server has ended. As root, the
    /// script runs under PostgreSQL's account, which must own the folder for that.
    pub(super) fn make_throwaway(&self, identity: &Identity) -> Result<(), DevError> {
        let path = self.dir.join(THROWAWAY);
        std::fs::write(&path, "").map_err(DevError::io("write", &path))?;
        identity.hand_over(&self.dir)
    }

    /// The superuser's password, made earlier by [`Home::new_password`].
    pub(super) fn password(&self) -> Result<String, DevError> {
        let path = self.dir.join("password");
        match std::fs::read_to_string(&path) {
            // Letters and digits only: it goes into a URL as it is.
            Ok(text) if is_password(text.trim()) => Ok(text.trim().to_owned()),
            _ => Err(DevError::PasswordLost { path }),
        }
    }

    /// Makes a password and keeps it, readable by us alone.
    pub(super) fn new_password(&self) -> Result<String, DevError> {
        let source = Path::new("/dev/urandom");
        let mut bytes = [0_u8; PASSWORD_BYTES];
        let mut random = File::open(source).map_err(DevError::io("open", source))?;
        random.read_exact(&mut bytes).map_err(DevError::io("read", source))?;
        let password: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.dir.join("password");
        gone(std::fs::remove_file(&path)).map_err(DevError::io("delete", &path))?;
        write_private(&path, &password)?;
        Ok(password)
    }

    /// Opens the log for appending; also tells how long it is now.
    pub(super) fn open_log(&self) -> Result<(File, u64), DevError> {
        let path = self.log();
        if path.metadata().is_ok_and(|metadata| metadata.len() > LOG_BYTES) {
            let old = self.dir.join("postgres.log.1");
            std::fs::rename(&path, &old).map_err(DevError::io("put aside", &path))?;
        }
        let file = File::options().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(DevError::io("open", &path))?;
        let length = file.metadata().map_err(DevError::io("look at", &path))?.len();
        Ok((file, length))
    }
}

/// Writes a file that only its owner can read. It must not exist yet.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), DevError> {
    let mut file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(DevError::io("create", path))?;
    file.set_permissions(Permissions::from_mode(0o600))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .map_err(DevError::io("write", path))
}

/// Takes the lock of a data folder, or says who has it.
fn lock(dir: &Path) -> Result<File, DevError> {
    let path = dir.join(LOCK);
    let file = File::options().create(true).read(true).append(true).mode(0o600).open(&path);
    let mut file = file.map_err(DevError::io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::Error(error)) => return Err(DevError::io("lock", &path)(error)),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let pid = read.ok().and_then(|_| holder.trim().parse::<u32>().ok());
            let holder = pid.map_or("its pid is not known".to_owned(), |pid| format!("pid {pid}"));
            return Err(DevError::Held { data_dir: dir.to_owned(), holder });
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(DevError::io("write the lock file", &path))?;
    Ok(file)
}

/// Whether a folder is new. A docent that died between lock and marker left only the lock; one that
/// starts at this moment may just have written the marker.
fn is_new(dir: &Path) -> Result<bool, DevError> {
    let entries = dir.read_dir().map_err(DevError::io("read the folder", dir))?;
    Ok(entries.flatten().all(|entry| entry.file_name() == LOCK || entry.file_name() == MARKER))
}

fn is_password(text: &str) -> bool {
    text.len() == 2 * PASSWORD_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Treats "there is none" as success of a removal.
fn gone(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("docent-home-{name}-{}", std::process::id()))
    }

    #[test]
    fn only_one_may_have_it() {
        let identity = Identity::current().unwrap();
        let dir = scratch("lock");
        let home = Home::open(&dir, &identity).unwrap();
        let error = Home::open(&dir, &identity).unwrap_err().to_string();
        assert!(error.contains(&format!("pid {}", std::process::id())), "{error}");
        drop(home);
        drop(Home::open(&dir, &identity).unwrap());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn never_adopts_somebody_elses_folder() {
        let identity = Identity::current().unwrap();
        let dir = scratch("foreign");
        folders::make(&dir, &identity).unwrap();
        std::fs::write(dir.join("thesis.tex"), "x").unwrap();
        assert!(matches!(Home::open(&dir, &identity), Err(DevError::NotOurs { .. })));
        assert!(!dir.join(LOCK).exists());
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_password_is_kept_privately_and_lost_loudly() {
        let identity = Identity::current().unwrap();
        let dir = scratch("password");
        let home = Home::open(&dir, &identity).unwrap();
        assert!(matches!(home.password(), Err(DevError::PasswordLost { .. })));
        let password = home.new_password().unwrap();
        assert_eq!(home.password().unwrap(), password);
        let mode = dir.join("password").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
