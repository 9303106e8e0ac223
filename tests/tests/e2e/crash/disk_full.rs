//! A file system that fills up under load and grows again, five times, and then a clean restart.
//!
//! The file system is a tmpfs in a mount namespace of its own, which a sleeping process holds, so that nothing is
//! mounted on the machine and nothing stays behind.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{acked_requests, start_load, verify};
use crate::http::{api, encode, get};
use crate::process::{Cairn, Process, built, wait_for};
use crate::skip;

const CYCLES: u64 = 5;
/// Room at the start and for each cycle: a few seconds of load fill it.
const FIRST_KIB: u64 = 6 << 10;
const GROWTH_KIB: u64 = 1 << 10;
const PATIENCE: Duration = Duration::from_secs(120);

/// A tmpfs that only those who enter its namespace see.
struct SmallDisk {
    keeper: Process,
    mount: PathBuf,
}

impl SmallDisk {
    fn mount(dir: &Path) -> Result<Self> {
        let (mount, done) = (dir.join("small"), dir.join("mounted"));
        std::fs::create_dir(&mount)?;
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs -o size={FIRST_KIB}k none \"$0\" && touch \"$1\" && exec sleep infinity"
            ))
            .arg(&mount)
            .arg(&done);
        let keeper = Process::quiet("namespace", dir, &mut command)?;
        wait_for("the tmpfs", PATIENCE, || {
            ensure!(done.exists(), "not mounted");
            Ok(())
        })?;
        Ok(SmallDisk { keeper, mount })
    }

    /// `program` where the disk is seen; the process is replaced, so its id is the program's.
    fn inside(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.keeper.pid().to_string()])
            .args(["--user", "--preserve-credentials", "--mount"])
            .arg(program);
        command
    }

    fn grow(&self, kib: u64) -> Result<()> {
        let mut command = self.inside(Path::new("mount"));
        command.arg("-o").arg(format!("remount,size={kib}k")).arg(&self.mount);
        ensure!(command.status()?.success(), "cannot grow the tmpfs");
        Ok(())
    }
}

/// Why no tmpfs can be mounted here, if so.
fn cannot_mount() -> Option<String> {
    let probe = "mount -t tmpfs -o size=64k none /mnt && mount -o remount,size=128k /mnt";
    let mut command = Command::new("unshare");
    match command.args(["--user", "--map-root-user", "--mount", "sh", "-c", probe]).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            Some(format!("cannot mount a tmpfs: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(e) => Some(format!("cannot run unshare: {e}")),
    }
}

#[test]
fn what_was_acked_survives_a_disk_that_fills_up_and_grows_again() -> Result<()> {
    if let Some(reason) = cannot_mount() {
        skip("e2e disk full", &reason);
        return Ok(());
    }
    let temp = tempfile::tempdir()?;
    let (dir, log) = (temp.path(), temp.path().join("full"));
    let disk = SmallDisk::mount(dir)?;
    let start = || {
        Cairn::start_as(
            disk.inside(&built("cairn")?),
            dir,
            &disk.mount.join("data"),
            &["--self-monitoring.disable"],
        )
    };
    let cairn = start()?;
    let options = ["--series", "1000", "--rounds", "4000", "--step-ms", "1000", "--request-samples", "500"];
    let patient = ["--connections", "2", "--rate", "50000", "--payload-mib", "64", "--retry-for", "600"];
    let load = start_load(dir, &cairn.write, &log, 0, &[&options[..], &patient[..]].concat())?;
    for cycle in 1..=CYCLES {
        let before = refused(&cairn)?;
        wait_for("a full disk", PATIENCE, || {
            ensure!(refused(&cairn)? > before + 3.0, "nothing is refused");
            Ok(())
        })?;
        let acked = acked_requests(&log)?;
        queries_go_on(&cairn)?;
        disk.grow(FIRST_KIB + cycle * GROWTH_KIB)?;
        wait_for("writes to resume by themselves", PATIENCE, || {
            let now = acked_requests(&log)?;
            ensure!(now > acked + 5, "{now} requests acked, {acked} before the disk grew");
            Ok(())
        })?;
    }
    load.kill()?;
    ensure!(cairn.process.terminate(PATIENCE)? == 0, "cairn must end well after SIGTERM");
    let cairn = start()?;
    let acked = verify(&cairn, &log)?;
    println!("cycles={CYCLES} acked={acked} missing=0 doubled=0");
    ensure!(cairn.process.terminate(PATIENCE)? == 0, "cairn must end well after SIGTERM");
    Ok(())
}

/// Write requests answered 503 so far.
fn refused(cairn: &Cairn) -> Result<f64> {
    let (status, text) = get(&cairn.http, "/metrics", &[])?;
    ensure!(status == 200, "status {status}");
    let of = |l: &&str| l.starts_with("cairn_http_requests_total{") && l.contains("\"503\"");
    Ok(text.lines().filter(of).filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

fn queries_go_on(cairn: &Cairn) -> Result<()> {
    let path = format!("/api/v1/query?query={}", encode("count(last_over_time({__name__=~\".+\"}[6h]))"));
    let answer = api(&cairn.http, &path, &[("THANOS-TENANT", "full")])?;
    let count = answer["result"][0]["value"][1].as_str().unwrap_or_default().to_owned();
    ensure!(count.parse::<u64>().is_ok_and(|n| n >= 1000), "{answer}");
    Ok(())
}
