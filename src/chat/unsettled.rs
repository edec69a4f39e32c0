//! Turns that ended while PostgreSQL was away: one file each, until it is back.
//!
//! A turn in memory would be lost with the process, and many of them would fill it. Files hold text of
//! conversations: only the owner of the process can read them.

use super::settle::Settlement;
use crate::types::TurnId;
use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The folder of them. Every call waits for the disk: not for a task that others wait for.
pub(super) struct Unsettled {
    folder: PathBuf,
    turns: Mutex<HashSet<TurnId>>,
}

impl Unsettled {
    /// What the last process left in `data_dir` belongs to this one.
    pub(super) fn open(data_dir: &Path) -> Self {
        let folder = data_dir.join("unsettled");
        if let Err(error) = make(&folder) {
            tracing::warn!(folder = %folder.display(), %error,
                "DATA_DIR cannot be written: turns that end while PostgreSQL is away would be lost");
        }
        let names = fs::read_dir(&folder).into_iter().flatten().flatten();
        let turn = |path: PathBuf| {
            let json = path.extension().is_some_and(|extension| extension == "json");
            path.file_stem().filter(|_| json)?.to_str()?.parse().ok()
        };
        let turns = names.filter_map(|entry| turn(entry.path())).collect();
        Self { folder, turns: Mutex::new(turns) }
    }

    /// The turns that wait.
    pub(super) fn turns(&self) -> Vec<TurnId> {
        self.set(|turns| turns.iter().copied().collect())
    }

    pub(super) fn contains(&self, turn: TurnId) -> bool {
        self.set(|turns| turns.contains(&turn))
    }

    /// Writes it down; when this returns, a power cut does not lose it.
    pub(super) fn save(&self, settlement: &Settlement) -> io::Result<()> {
        make(&self.folder)?;
        let path = self.path(settlement.turn);
        let draft = path.with_extension("draft");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec(settlement)?)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(&self.folder)?.sync_all()?;
        self.set(|turns| turns.insert(settlement.turn));
        Ok(())
    }

    pub(super) fn load(&self, turn: TurnId) -> io::Result<Settlement> {
        Ok(serde_json::from_slice(&fs::read(self.path(turn))?)?)
    }

    /// It is settled.
    pub(super) fn remove(&self, turn: TurnId) {
        if let Err(error) = fs::remove_file(self.path(turn)) {
            tracing::warn!(turn.id = %turn, %error, "The file of a settled turn cannot be deleted");
        }
        self.set(|turns| turns.remove(&turn));
    }

    /// It will never be settled: kept for a person to look at.
    pub(super) fn set_aside(&self, turn: TurnId) {
        let path = self.path(turn);
        drop(fs::rename(&path, path.with_extension("failed"))); // what cannot be moved is tried again
        self.set(|turns| turns.remove(&turn));
    }

    fn path(&self, turn: TurnId) -> PathBuf {
        self.folder.join(format!("{turn}.json"))
    }

    fn set<T>(&self, work: impl FnOnce(&mut HashSet<TurnId>) -> T) -> T {
        work(&mut self.turns.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
