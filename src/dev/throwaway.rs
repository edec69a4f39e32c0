//! A cluster for one test process: fast, unsafe, and gone afterwards.
//!
//! Tests keep it in a static cell, and statics are never dropped: the supervising script stops the
//! server and deletes the folder when the process ends. Should the script be killed too, the next
//! call here finds the folder unlocked and deletes it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::account::Identity;
use super::cluster::{Cluster, Options};
use super::error::DevError;
use super::folders;
use super::home::{LOCK, MARKER};

/// How the folders' names begin, below the temporary folder.
const PREFIX: &str = "docent-test-pg-";

/// Starts a cluster in a temporary folder, which is deleted when the process ends. Call it once per
/// process, behind a `tokio::sync::OnceCell`; the cluster does not depend on the calling runtime.
///
/// # Errors
/// As [`Cluster::start`].
pub async fn throwaway() -> Result<Cluster, DevError> {
    let identity = Identity::current()?;
    let parent = folders::temporary(&identity);
    sweep(&parent, &identity);
    // Process ids alone come again, in containers at every start.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let name = format!("{PREFIX}{}-{:x}", std::process::id(), now.as_nanos());
    Cluster::start(Options::new(parent.join(name)).throwaway(true)).await
}

/// Deletes the folders of test processes that are dead. What cannot be deleted is left.
fn sweep(parent: &Path, identity: &Identity) {
    let entries = parent.read_dir().into_iter().flatten().flatten();
    for entry in entries {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours && is_dead(&entry.path(), identity) {
            let dir = entry.path();
            match std::fs::remove_dir_all(&dir) {
                Ok(()) => tracing::debug!(folder = %dir.display(), "deleted an old test cluster"),
                Err(error) => tracing::debug!(folder = %dir.display(), %error, "cannot delete"),
            }
        }
    }
}

/// Whether `dir` is a cluster that one of our processes made and that nobody uses any more.
fn is_dead(dir: &Path, identity: &Identity) -> bool {
    let belongs_to_us = dir.symlink_metadata().is_ok_and(|metadata| {
        let account = identity.account.as_ref().map(|account| account.uid);
        metadata.is_dir() && (metadata.uid() == identity.uid || Some(metadata.uid()) == account)
    });
    let lock: PathBuf = dir.join(LOCK);
    // The marker is written under the lock: without it somebody may be about to lock.
    belongs_to_us
        && dir.join(MARKER).is_file()
        && File::open(lock).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lives_serves_and_vanishes() {
        let mut cluster = throwaway().await.unwrap();
        let dir = cluster.data_dir().to_owned();
        assert!(cluster.is_running());
        assert!(cluster.url("x").starts_with("postgres://postgres:"));
        cluster.create_database_if_missing("docent_test").await.unwrap();
        cluster.create_database_if_missing("docent_test").await.unwrap();
        let refused = cluster.create_database_if_missing("no\"name").await;
        assert!(matches!(refused, Err(DevError::BadName { .. })));
        sweep(dir.parent().unwrap(), &Identity::current().unwrap());
        assert!(dir.join(MARKER).is_file(), "a living cluster must not be swept");
        cluster.stop().await;
        assert!(!dir.exists(), "{} is still there", dir.display());
    }
}
