//! Which folders are used: the cache for binaries, and a data folder that PostgreSQL can reach.
//!
//! Invariant: a folder from here belongs to us and nobody else may write to it, because programs
//! are run from it. A name in a shared place such as `/var/tmp` that somebody else made is refused.

use std::fs::{DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::Identity;
use super::error::DevError;

/// The folder for fetched binaries, made if need be. Ordinary users get `$XDG_CACHE_HOME/docent` or
/// `~/.cache/docent`; root gets the same if PostgreSQL's account can reach it, else
/// `/var/cache/docent`; the last resort is a private folder below the temporary one.
pub(super) fn cache(identity: &Identity) -> Result<PathBuf, DevError> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let mut wanted: Vec<PathBuf> = Vec::new();
    wanted.extend(absolute("XDG_CACHE_HOME").map(|folder| folder.join("docent")));
    wanted.extend(absolute("HOME").map(|folder| folder.join(".cache/docent")));
    if identity.account.is_some() {
        wanted.push(PathBuf::from("/var/cache/docent"));
        wanted.push(PathBuf::from("/var/tmp/docent-cache"));
    }
    wanted.push(std::env::temp_dir().join(format!("docent-cache-{}", identity.uid)));
    first_usable(&wanted, identity)
}

/// Where the data really goes when `wanted` was asked for: there, unless PostgreSQL's account
/// cannot reach it (root only). The folder is made.
pub(super) fn data(wanted: &Path, identity: &Identity) -> Result<PathBuf, DevError> {
    let wanted = std::path::absolute(wanted).map_err(DevError::io("find the folder", wanted))?;
    let label = wanted.file_name().map(|name| name.to_string_lossy().into_owned());
    let label = label.unwrap_or_else(|| "data".to_owned());
    let name = format!("{}-{:016x}", label.trim_start_matches('.'), fingerprint(&wanted));
    let mut folders = vec![wanted];
    if identity.account.is_some() {
        folders.push(Path::new("/var/lib/docent").join(&name));
        folders.push(Path::new("/var/tmp").join(format!("docent-{name}")));
    }
    first_usable(&folders, identity)
}

/// The temporary folder for throwaway clusters.
pub(super) fn temporary(identity: &Identity) -> PathBuf {
    let usual = std::env::temp_dir();
    if identity.can_reach(&usual) { usual } else { PathBuf::from("/var/tmp") }
}

/// Makes `folder` and what is missing above it; fails if it is not ours alone to write to.
pub(super) fn make(folder: &Path, identity: &Identity) -> Result<(), DevError> {
    // Root's folders must stay open to PostgreSQL's account, whatever the umask says; an ordinary
    // user's are private.
    let mode = if identity.account.is_some() { 0o755 } else { 0o700 };
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|path| path.symlink_metadata().is_err()).collect();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(mode).create(path) {
            Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(mode))
                .map_err(DevError::io("set the permissions of", path))?,
            // Another docent, started at the same moment, was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(DevError::io("create the folder", path)(error)),
        }
    }
    let metadata = folder.metadata().map_err(DevError::io("look at", folder))?;
    let refuse = |reason| Err(DevError::NotOurs { dir: folder.to_owned(), reason });
    if !metadata.is_dir() {
        return refuse("it is not a folder");
    }
    if metadata.uid() != identity.uid {
        return refuse("it belongs to another user");
    }
    if metadata.mode() & 0o002 != 0 {
        return refuse("other users may write to it");
    }
    Ok(())
}

/// The first of `folders` that PostgreSQL's account can reach and that can be made. If none can,
/// the reason why the first reachable one failed.
fn first_usable(folders: &[PathBuf], identity: &Identity) -> Result<PathBuf, DevError> {
    let mut first_refusal = None;
    for folder in folders.iter().filter(|folder| identity.can_reach(folder)) {
        match make(folder, identity) {
            Ok(()) => return Ok(folder.clone()),
            // Without root, only the folder that was asked for will do for data; a cache may move.
            Err(error) => {
                tracing::debug!(folder = %folder.display(), %error, "this folder cannot be used");
                first_refusal.get_or_insert(error);
            }
        }
    }
    Err(first_refusal.unwrap_or_else(|| DevError::NoAccount {
        reason: "no folder could be found that another account can reach".to_owned(),
    }))
}

/// FNV-1a: the same path gives the same name in every build, which `DefaultHasher` does not promise.
fn fingerprint(path: &Path) -> u64 {
    path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_path_always_gets_the_same_name() {
        assert_eq!(fingerprint(Path::new("/root/a")), fingerprint(Path::new("/root/a")));
        assert_ne!(fingerprint(Path::new("/root/a")), fingerprint(Path::new("/root/b")));
        assert_eq!(fingerprint(Path::new("")), 0xcbf2_9ce4_8422_2325);
    }

    #[test]
    fn refuses_a_folder_that_others_can_write_to() {
        let identity = Identity::current().unwrap();
        let dir = std::env::temp_dir().join(format!("docent-folders-{}", std::process::id()));
        let inner = dir.join("a/b");
        make(&inner, &identity).unwrap();
        std::fs::set_permissions(&inner, Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(make(&inner, &identity), Err(DevError::NotOurs { .. })));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
