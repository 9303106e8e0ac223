//! A cairn in trouble under load, and what the sender saw acknowledged, kept outside of it: all of it is there
//! afterwards, once.

mod disk_full;
mod flood;
mod kill;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Cairn, Process, built};

/// Whether to take the time for as many rounds as is promised: `cargo xtask test crash` and `--full` set this.
fn thorough() -> bool {
    std::env::var_os("CAIRN_THOROUGH").is_some()
}

/// The load generator's run number `round`, for a tenant of its own, with what is acked going to `log`.
fn start_load(dir: &Path, write: &str, log: &Path, round: usize, options: &[&str]) -> Result<Process> {
    let mut command = Command::new(built("load-tests")?);
    command
        .args(["remote-write", "--url", &format!("http://{write}/api/v1/write")])
        .args(["--proto", if round.is_multiple_of(2) { "2" } else { "1" }])
        .args(["--seed", &round.to_string(), "--tenant", &tenant(log)?])
        .args(options)
        .arg("--acked-log")
        .arg(log);
    Process::quiet("load", dir, &mut command)
}

/// Every log has a tenant of its own, so that rounds do not hide one another's samples.
fn tenant(log: &Path) -> Result<String> {
    Ok(log.file_name().context("a name")?.to_string_lossy().into_owned())
}

/// Requests that the log says were acked.
fn acked_requests(log: &Path) -> Result<usize> {
    let bytes = std::fs::read(log)?;
    let head = bytes.iter().position(|b| *b == b'\n').context("no head line")?;
    Ok((bytes.len() - head - 1) / 8)
}

/// Asks for every sample that `log` says was acked, and gives how many those are.
fn verify(cairn: &Cairn, log: &Path) -> Result<u64> {
    let tenant = tenant(log)?;
    let output = Command::new(built("load-tests")?)
        .args(["verify", "--url", &format!("http://{}", cairn.http), "--tenant", &tenant, "--acked-log"])
        .arg(log)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Value = serde_json::from_str(text.lines().last().context("no report")?)?;
    ensure!(output.status.success(), "{tenant}: {found}");
    ensure!(found["missing"] == 0 && found["doubled"] == 0 && found["invented"] == 0, "{tenant}: {found}");
    found["acked"].as_u64().context("no count")
}
