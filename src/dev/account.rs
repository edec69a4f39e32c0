//! Who runs PostgreSQL: ourselves, or an unprivileged account when we are root.
//!
//! PostgreSQL refuses to run as root, so root hands it to `postgres` or `nobody`. That account must
//! be able to reach the binaries and the data, which [`Account::can_reach`] answers from mode bits
//! (access control lists are not read: they can only make the answer "no" too careful).

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::error::DevError;

/// Accounts that root may hand PostgreSQL to, best first (`_postgres` is macOS's).
const CANDIDATES: [&str; 4] = ["postgres", "_postgres", "nobody", "daemon"];

/// An unprivileged account, used only when we are root.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// This process's own user, and the account that runs PostgreSQL if that must be another one.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) account: Option<Account>,
}

impl Identity {
    /// Asks the system who we are (`id -u`, so that no unsafe call is needed).
    pub(super) fn current() -> Result<Self, DevError> {
        let uid = id(["-u"]).ok_or_else(|| DevError::NoAccount {
            reason: "the program `id` does not tell who is running this".to_owned(),
        })?;
        if uid != 0 {
            return Ok(Self { uid, account: None });
        }
        let account = CANDIDATES.iter().find_map(|name| Account::named(name));
        match account {
            Some(account) => Ok(Self { uid, account: Some(account) }),
            None => Err(DevError::NoAccount {
                reason: format!("none of the accounts {} exists", CANDIDATES.join(", ")),
            }),
        }
    }

    /// Whether whoever runs PostgreSQL can enter `dir`. Our own folders are taken on trust.
    pub(super) fn can_reach(&self, dir: &Path) -> bool {
        self.account.as_ref().is_none_or(|account| account.can_reach(dir))
    }

    /// Makes `command` run as whoever runs PostgreSQL.
    pub(super) fn apply(&self, command: &mut Command) {
        if let Some(account) = &self.account {
            // The standard library also drops root's supplementary groups when it sets a uid.
            command.uid(account.uid).gid(account.gid);
        }
    }

    /// Gives `path` to whoever runs PostgreSQL.
    pub(super) fn hand_over(&self, path: &Path) -> Result<(), DevError> {
        let Some(account) = &self.account else {
            return Ok(());
        };
        std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
            .map_err(DevError::io("give to the account that runs PostgreSQL", path))
    }
}

impl Account {
    fn named(name: &str) -> Option<Self> {
        let uid = id(["-u", name])?;
        let gid = id(["-g", name])?;
        (uid != 0).then(|| Self { name: name.to_owned(), uid, gid })
    }

    /// Whether this account may enter `dir` and every folder above it. A missing folder is judged
    /// by its nearest ancestor that exists.
    fn can_reach(&self, dir: &Path) -> bool {
        let Ok(absolute) = std::path::absolute(dir) else {
            return false;
        };
        // Links are resolved first: it is the real folders that must be open.
        let Some(existing) = absolute.ancestors().find_map(|path| path.canonicalize().ok()) else {
            return false;
        };
        existing
            .ancestors()
            .all(|folder| folder.metadata().is_ok_and(|metadata| self.can_enter(&metadata)))
    }

    fn can_enter(&self, metadata: &Metadata) -> bool {
        let bit = if metadata.uid() == self.uid {
            0o100
        } else if metadata.gid() == self.gid {
            0o010
        } else {
            0o001
        };
        metadata.mode() & bit != 0
    }
}

fn id<const N: usize>(arguments: [&str; N]) -> Option<u32> {
    let output = Command::new("id").args(arguments.map(OsStr::new)).output().ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn stranger() -> Account {
        Account { name: "stranger".to_owned(), uid: 54_321, gid: 54_321 }
    }

    #[test]
    fn knows_who_we_are() {
        let identity = Identity::current().unwrap();
        assert_eq!(identity.uid == 0, identity.account.is_some());
    }

    #[test]
    fn a_closed_folder_is_out_of_reach_with_all_below() {
        let dir = std::env::temp_dir().join(format!("docent-reach-{}", std::process::id()));
        let inner = dir.join("inner");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o711)).unwrap();
        std::fs::set_permissions(&inner, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(stranger().can_reach(&inner));
        assert!(stranger().can_reach(&inner.join("not/yet")));
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
        assert!(!stranger().can_reach(&inner));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
