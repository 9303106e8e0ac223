//! SIGKILL under load: what the sender saw acknowledged is there afterwards.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{Cairn, Process, built, wait_for};

/// How often cairn is killed in one run.
const KILLS: usize = 3;
/// Requests acknowledged between two kills, at least.
const ACKED_BETWEEN_KILLS: u64 = 20_000;

#[test]
fn what_was_acked_survives_sigkill_under_load() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let (dir, data) = (temp.path(), temp.path().join("data"));
    for round in 0..KILLS {
        let cairn = Cairn::start(dir, &data, &["--self-monitoring.disable"])?;
        let log = dir.join(format!("acked-{round}"));
        let load = start_load(dir, &cairn.write, &log, round)?;
        wait_for("acknowledged samples", Duration::from_secs(60), || {
            let written = std::fs::metadata(&log).map(|m| m.len()).unwrap_or(0);
            ensure!(written > 0 && samples_in_head(&cairn)? >= ACKED_BETWEEN_KILLS, "{written} bytes of log");
            Ok(())
        })?;
        cairn.process.kill()?;
        // Its target is gone, so the generator ends by itself, and not with success.
        ensure!(load.wait(Duration::from_secs(60))? != 0, "the load ended before the kill");
        // The same data folder, before the next load: every round of before must still be whole.
        let cairn = Cairn::start(dir, &data, &["--self-monitoring.disable"])?;
        for earlier in 0..=round {
            verify(&cairn, &dir.join(format!("acked-{earlier}")))?;
        }
        cairn.process.kill()?;
    }
    Ok(())
}

fn start_load(dir: &Path, write: &str, log: &Path, round: usize) -> Result<Process> {
    let mut command = Command::new(built("load-tests")?);
    command
        .args(["remote-write", "--url", &format!("http://{write}/api/v1/write")])
        .args(["--proto", if round.is_multiple_of(2) { "2" } else { "1" }])
        .args(["--series", "5000", "--rounds", "400", "--connections", "4"])
        .args(["--seed", &round.to_string(), "--tenant", &format!("round-{round}")])
        .args(["--rate", "100000"])
        .arg("--acked-log")
        .arg(log);
    Process::quiet("load", dir, &mut command)
}

fn samples_in_head(cairn: &Cairn) -> Result<u64> {
    let (status, text) = crate::http::get(&cairn.http, "/metrics", &[])?;
    ensure!(status == 200, "status {status}");
    let lines = text.lines().filter(|l| l.starts_with("prometheus_tsdb_head_samples_appended_total"));
    let values = lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}

fn verify(cairn: &Cairn, log: &Path) -> Result<()> {
    let tenant = log.file_name().context("a name")?.to_string_lossy().replace("acked", "round");
    let output = Command::new(built("load-tests")?)
        .args(["verify", "--url", &format!("http://{}", cairn.http), "--tenant", &tenant, "--acked-log"])
        .arg(log)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Value = serde_json::from_str(text.lines().last().context("no report")?)?;
    println!("{tenant}: {found}");
    ensure!(output.status.success(), "{tenant}: {found}");
    ensure!(found["acked"].as_u64().unwrap_or(0) >= ACKED_BETWEEN_KILLS / 2, "too little was acked: {found}");
    ensure!(found["missing"] == 0 && found["doubled"] == 0 && found["invented"] == 0, "{found}");
    Ok(())
}
