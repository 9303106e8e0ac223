//! A Debian package as a folder of files: downloaded by apt, unpacked by dpkg-deb, never installed.
//!
//! First with the host's package lists; when those are absent or stale, once more with private lists inside the
//! cache, so that the host's apt state is never written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Peer, locate, step};

/// Fills `fresh/root` with the package and `fresh/bin` with links to its binaries.
pub fn unpack(peer: &Peer, package: &str, fresh: &Path) -> Result<()> {
    let archive = match download(package, fresh, &[]) {
        Ok(archive) => archive,
        Err(first) => {
            let options = private_lists().with_context(|| format!("{first:#}"))?;
            download(package, fresh, &options)?
        }
    };
    let file = archive.file_name().unwrap_or_default().to_string_lossy().into_owned();
    ensure!(
        file.starts_with(&format!("{package}_{}", peer.version)),
        "cannot take {package}: this release of Debian has {file}, the pin is {}",
        peer.version
    );
    let root = fresh.join("root");
    step(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root), &format!("unpack {file}"))?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    for (name, path) in &peer.binaries {
        let link = fresh.join("bin").join(name);
        symlink(Path::new("../root").join(path), &link)
            .with_context(|| format!("cannot link {}", link.display()))?;
    }
    Ok(())
}

/// `apt-get download` into `fresh`; the archive's path.
fn download(package: &str, fresh: &Path, options: &[String]) -> Result<PathBuf> {
    let mut command = Command::new("apt-get");
    command.args(options).arg("download").arg(package).current_dir(fresh);
    step(&mut command, &format!("download {package}"))?;
    let entries = fs::read_dir(fresh).with_context(|| format!("cannot list {}", fresh.display()))?;
    entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .find(|path| path.extension().is_some_and(|e| e == "deb"))
        .with_context(|| format!("cannot download {package}: apt-get left no archive"))
}

/// Options that point apt at lists of our own, which are brought up to date here.
fn private_lists() -> Result<Vec<String>> {
    let apt = locate::cache().join(".apt");
    for folder in ["lists/partial", "cache/archives/partial"] {
        let folder = apt.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let set = |key: &str, folder: &str| ["-o".to_owned(), format!("{key}={}", apt.join(folder).display())];
    let options = [set("Dir::State::lists", "lists"), set("Dir::Cache", "cache")].concat();
    step(Command::new("apt-get").args(&options).arg("update"), "update the private package lists")?;
    Ok(options)
}
