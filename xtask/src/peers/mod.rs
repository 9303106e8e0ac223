//! `cargo xtask peers`: has every pinned program ready in the cache, or says why not.
//!
//! Parts in order: `locate` (pins and cache paths) → `debian` or `go_module` (fill a fresh folder) → the check that the
//! binary runs and prints the pinned version → one rename into place. Nothing is installed, nothing is started,
//! nothing goes on PATH.

mod debian;
mod go_module;
pub mod locate;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use locate::{Peer, Source};

/// Runs the command; the exit code is 0 when every wanted peer is there.
///
/// Without names it means all pins. `--path NAME` prints nothing but the path of one binary, fetching its peer first.
///
/// # Errors
/// When an argument names no peer or the cache cannot be written.
pub fn run(args: &[String]) -> Result<i32> {
    let peers = locate::pinned().map_err(|e| anyhow!(e))?;
    if let Some(("--path", rest)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let [wanted] = rest else { bail!("cannot print a path: expected `peers --path NAME`") };
        let name = wanted.split('/').next().unwrap_or(wanted);
        let peer = peers
            .iter()
            .find(|p| {
                if wanted.contains('/') {
                    p.name == name
                } else {
                    p.binaries.iter().any(|(b, _)| b == wanted)
                }
            })
            .with_context(|| format!("cannot find {wanted}: no such program in xtask/peers.toml"))?;
        ensure_fetched(peer)?;
        println!("{}", locate::find(wanted).map_err(|e| anyhow!(e))?.display());
        return Ok(0);
    }
    for name in args {
        ensure!(
            peers.iter().any(|p| &p.name == name),
            "cannot fetch {name}: no such peer in xtask/peers.toml"
        );
    }
    let mut missing = 0;
    for peer in peers.iter().filter(|p| args.is_empty() || args.contains(&p.name)) {
        match ensure_fetched(peer) {
            Ok(folder) => println!("peer {} {} {}", peer.name, peer.version, folder.join("bin").display()),
            Err(error) => {
                missing += 1;
                println!("peer {} missing: {}", peer.name, one_line(&error));
            }
        }
    }
    Ok(i32::from(missing > 0))
}

/// Fetches what a stage or bench needs and returns the reasons of what could not be had.
pub fn fetch(names: &[&str]) -> Vec<String> {
    let peers = match locate::pinned() {
        Ok(peers) => peers,
        Err(error) => return vec![error],
    };
    let fetch_one = |name: &&str| match peers.iter().find(|p| p.name == **name) {
        None => Some(format!("peer {name} missing: not in xtask/peers.toml")),
        Some(peer) => ensure_fetched(peer).err().map(|e| format!("peer {name} missing: {}", one_line(&e))),
    };
    names.iter().filter_map(fetch_one).collect()
}

/// The peer's folder, filled now if it was not there. Concurrent callers wait for one another.
fn ensure_fetched(peer: &Peer) -> Result<PathBuf> {
    let cache = locate::cache();
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let lock_path = cache.join(format!(".{}.lock", peer.name));
    let lock = File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;

    let folder = peer.folder(&cache);
    if !folder.is_dir() {
        let fresh = cache.join(format!(".{}-{}.partial", peer.name, peer.version));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(fresh.join("bin"))
            .with_context(|| format!("cannot create {}", fresh.display()))?;
        eprintln!("fetching {} {} …", peer.name, peer.version);
        match &peer.source {
            Source::Debian { package } => debian::unpack(peer, package, &fresh)?,
            Source::Go(module) => go_module::build(peer, module, &fresh)?,
        }
        check(peer, &fresh)?;
        fs::rename(&fresh, &folder).with_context(|| format!("cannot move {} into place", fresh.display()))?;
    }
    check(peer, &folder)?;
    Ok(folder)
}

/// Every binary runs and prints the pinned version.
fn check(peer: &Peer, folder: &Path) -> Result<()> {
    for (name, _) in &peer.binaries {
        let binary = folder.join("bin").join(name);
        let output = Command::new(&binary).arg("--version").output().with_context(|| {
            format!("cannot run {}; remove its folder to fetch it anew", binary.display())
        })?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.success() && said.contains(&peer.prints),
            "cannot use {}: `--version` ended with {} and printed {:?}, expected {:?}",
            binary.display(),
            output.status,
            said.lines().next().unwrap_or_default(),
            peer.prints
        );
    }
    Ok(())
}

/// Runs one step of a fetch; its output appears only when it fails.
fn step(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| {
        format!("cannot {what}: cannot run {}; is it installed?", command.get_program().to_string_lossy())
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().filter(|l| !l.trim().is_empty()).take(4).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!("cannot {what}: {}: {}", output.status, last.join(" | "));
    }
    Ok(())
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}
