//! Where benches keep the data of the programs they run: below the build folder, on whatever file system that is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::server::Program;
use crate::workspace;

/// The folder of all benches, made if it is not there.
///
/// # Errors
/// When it cannot be made.
pub fn root() -> Result<PathBuf> {
    let folder = workspace::target().join("bench");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// The data folder of a program below `root`, without what an earlier run left there.
pub fn fresh(root: &Path, program: Program) -> PathBuf {
    let data = root.join(program.name());
    let _ = std::fs::remove_dir_all(&data);
    data
}

/// Name of the file system under `folder`.
///
/// # Errors
/// When `stat` is not there.
pub fn file_system(folder: &Path) -> Result<String> {
    let output = Command::new("stat")
        .args(["--file-system", "--format=%T"])
        .arg(folder)
        .output()
        .context("cannot run stat")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Why nothing on that file system can be judged, if so.
pub fn unsynced(folder: &Path, file_system: &str) -> Option<String> {
    let in_memory = matches!(file_system, "tmpfs" | "ramfs");
    in_memory.then(|| format!("{} is {file_system}, which has no fsync", folder.display()))
}
