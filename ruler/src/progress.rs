//! How far each group got, kept over restarts, so that slots missed in between can be made up.
//!
//! One small file, written whole a few times a minute: `{"version":1,"groups":[{"file":…,"name":…,"reachedMs":…}]}`.
//! A kill loses the last seconds of it; the slots concerned are then evaluated again, to the same values.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cairn_model::TimestampMs;
use cairn_runtime::Disk;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::group::GroupKey;

const VERSION: u32 = 1;

/// The last slot of each group.
#[derive(Debug, Default)]
pub struct Progress {
    path: Option<PathBuf>,
    state: Mutex<ProgressState>,
}

#[derive(Debug, Default)]
struct ProgressState {
    reached: BTreeMap<GroupKey, TimestampMs>,
    changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    groups: Vec<SavedGroup>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedGroup {
    file: String,
    name: String,
    reached_ms: TimestampMs,
}

impl Progress {
    /// Loads the file; without a path, or when it cannot be read, nothing is known. Blocks.
    pub fn load(disk: &dyn Disk, path: Option<PathBuf>) -> Progress {
        let mut reached = BTreeMap::new();
        if let Some(path) = &path {
            match read(disk, path) {
                Ok(known) => reached = known,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    tracing::warn!(path = %path.display(), error = %e, "cannot read how far rules got: missed slots are not made up");
                }
            }
        }
        Progress { path, state: Mutex::new(ProgressState { reached, changed: false }) }
    }

    /// The last slot of a group.
    pub fn reached(&self, key: &GroupKey) -> Option<TimestampMs> {
        self.state.lock().reached.get(key).copied()
    }

    /// A group evaluated a slot.
    pub fn advance(&self, key: &GroupKey, slot_ms: TimestampMs) {
        let mut state = self.state.lock();
        state.reached.insert(key.clone(), slot_ms);
        state.changed = true;
    }

    /// Drops groups that are no more.
    pub fn keep_only(&self, keys: &std::collections::BTreeSet<GroupKey>) {
        let mut state = self.state.lock();
        state.reached.retain(|key, _| keys.contains(key));
        state.changed = true;
    }

    /// Writes the file if anything changed. Blocks.
    ///
    /// # Errors
    /// What the disk says; the next call tries again.
    pub fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let content = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.changed) {
                return Ok(());
            }
            let groups = state
                .reached
                .iter()
                .map(|(key, t)| SavedGroup { file: key.file.clone(), name: key.name.clone(), reached_ms: *t })
                .collect();
            serde_json::to_vec(&Saved { version: VERSION, groups })
                .expect("texts and numbers always serialize")
        };
        let written = path
            .parent()
            .map_or(Ok(()), |dir| disk.create_dir_all(dir))
            .and_then(|()| disk.write_atomic(path, &content));
        if written.is_err() {
            self.state.lock().changed = true;
        }
        written
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<BTreeMap<GroupKey, TimestampMs>> {
    let saved: Saved = serde_json::from_slice(&disk.read(path)?).map_err(io::Error::other)?;
    if saved.version != VERSION {
        return Err(io::Error::other(format!(
            "version {}, this program reads version {VERSION}",
            saved.version
        )));
    }
    Ok(saved.groups.into_iter().map(|g| (GroupKey { file: g.file, name: g.name }, g.reached_ms)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::MemDisk;

    #[test]
    fn progress_survives_a_restart_and_a_damaged_file_does_not_stop_rules() {
        let disk = MemDisk::default();
        let path = PathBuf::from("/data/ruler/progress.json");
        let key = GroupKey { file: "a.yml".to_owned(), name: "g".to_owned() };
        let progress = Progress::load(&disk, Some(path.clone()));
        progress.advance(&key, 42);
        progress.save(&disk).unwrap();
        assert_eq!(Progress::load(&disk, Some(path.clone())).reached(&key), Some(42));
        disk.write_atomic(&path, b"{").unwrap();
        assert_eq!(Progress::load(&disk, Some(path)).reached(&key), None);
    }
}
