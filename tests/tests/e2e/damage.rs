//! What happens to a node while it is down or beside it: a torn log, a damaged log, a damaged block, an Alertmanager
//! that is away. Each is named, and costs nothing else.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::http::{api, encode, metric};
use crate::process::{Cairn, Process, built, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
const QUIET: &str = "--self-monitoring.disable";

/// Sends `rounds` rounds of 500 series, all of which must be acked.
fn load(dir: &Path, cairn: &Cairn, log: &Path, rounds: u64) -> Result<()> {
    let mut command = Command::new(built("load-tests")?);
    command
        .args(["remote-write", "--url", &format!("http://{}/api/v1/write", cairn.write), "--proto", "2"])
        .args(["--series", "500", "--rounds", &rounds.to_string(), "--request-samples", "250"])
        .args(["--connections", "2", "--churn", "0", "--acked-log"])
        .arg(log);
    let load = Process::quiet("load", dir, &mut command)?;
    ensure!(load.wait(PATIENCE)? == 0, "something was refused");
    Ok(())
}

/// What `load-tests verify` finds.
fn verify(cairn: &Cairn, log: &Path) -> Result<Value> {
    let mut command = Command::new(built("load-tests")?);
    command.args(["verify", "--url", &format!("http://{}", cairn.http), "--acked-log"]).arg(log);
    let text = String::from_utf8(command.output()?.stdout)?;
    let found: Value = serde_json::from_str(text.lines().last().context("no report")?)?;
    ensure!(found["doubled"] == 0 && found["invented"] == 0 && found["different"] == 0, "{found}");
    Ok(found)
}

/// The files of `folder` with this ending, sorted.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let all = std::fs::read_dir(folder).with_context(|| format!("no {} yet", folder.display()))?;
    let mut found: Vec<PathBuf> = all.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    found.retain(|p| p.to_string_lossy().ends_with(ending));
    found.sort();
    Ok(found)
}

#[test]
fn a_torn_log_loses_nothing_and_a_damaged_one_its_damaged_part() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let (dir, data, log) = (temp.path(), temp.path().join("data"), temp.path().join("acked"));
    let cairn = Cairn::start(dir, &data, &[QUIET])?;
    load(dir, &cairn, &log, 20)?;
    cairn.process.kill()?;
    let segment = files(&data.join("tsdb/wal"), ".wal")?.pop().context("a segment")?;

    // A write that did not come to its end: part of a frame, of which nothing was acknowledged.
    let bytes = std::fs::read(&segment)?;
    std::fs::write(&segment, [&bytes[..], &bytes[48..148]].concat())?;
    let cairn = Cairn::start(dir, &data, &[QUIET])?;
    let found = verify(&cairn, &log)?;
    ensure!(found["missing"] == 0 && found["acked"] == 10_000, "{found}");
    ensure!(
        metric(&cairn.http, "prometheus_tsdb_wal_corruptions_total")? == 0.0,
        "a torn end is no corruption"
    );
    cairn.process.kill()?;

    // A flipped byte in the middle: its request is gone, all others are there, and the segment is named.
    let file = std::fs::File::options().read(true).write(true).open(&segment)?;
    let (mut byte, middle) = ([0], bytes.len() as u64 / 2);
    file.read_exact_at(&mut byte, middle)?;
    file.write_all_at(&[!byte[0]], middle)?;
    let cairn = Cairn::start(dir, &data, &[QUIET])?;
    let found = verify(&cairn, &log)?;
    let missing = found["missing"].as_u64().context("a count")?;
    ensure!((1..=500).contains(&missing), "at most the requests of one frame: {found}");
    ensure!(metric(&cairn.http, "prometheus_tsdb_wal_corruptions_total")? == 1.0, "counted");
    let name = segment.file_name().context("a name")?.to_string_lossy().into_owned();
    let said = cairn.process.log_tail();
    ensure!(said.contains(&name) && said.contains("is damaged at bytes"), "{said}");
    Ok(())
}

#[test]
fn a_damaged_block_is_named_and_set_aside_and_the_rest_answers() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let (dir, data, log) = (temp.path(), temp.path().join("data"), temp.path().join("acked"));
    let args = [QUIET, "--tsdb.block-duration=10m", "--tsdb.close-delay=1s", "--compact.disable"];
    let cairn = Cairn::start(dir, &data, &args)?;
    load(dir, &cairn, &log, 200)?;
    let blocks = data.join("tsdb/blocks");
    let whole = |folder: &PathBuf| folder.join("index").exists();
    let sealed = wait_for("blocks", PATIENCE, || {
        let all: Vec<_> = files(&blocks, "")?.into_iter().filter(whole).collect();
        ensure!(all.len() >= 3, "{} blocks", all.len());
        Ok(all)
    })?;
    cairn.process.kill()?;
    let victim = &sealed[1];
    std::fs::write(victim.join("index"), b"no index any more")?;

    let cairn = Cairn::start(dir, &data, &args)?;
    let found = verify(&cairn, &log)?;
    ensure!(
        found["missing"] == 0 && found["acked"] == 100_000,
        "the bucket has it too, and answers: {found}"
    );
    let ulid = victim.file_name().context("a name")?.to_string_lossy().into_owned();
    let said = cairn.process.log_tail();
    ensure!(said.contains("block set aside") && said.contains(&ulid), "{said}");
    cairn.process.kill()?;

    let output = Command::new(built("cairn")?).args(["tools", "tsdb", "verify"]).arg(&blocks).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let sound = text.lines().filter(|l| l.contains(" ok: ")).count();
    ensure!(output.status.code() == Some(1) && sound >= 2, "{text}");
    ensure!(text.contains(&format!("{ulid} 1 finding")) && text.contains("wrong magic number"), "{text}");
    Ok(())
}

#[test]
fn an_alertmanager_that_is_away_stops_nothing() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let rules = dir.join("rules.yml");
    let text = "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {alert: Always, expr: vector(1)}\n  - {record: one, expr: vector(1)}\n";
    std::fs::write(&rules, text)?;
    let rules = format!("--rule-file={}", rules.display());
    // Nobody listens on port 1.
    let cairn =
        Cairn::start(dir, &dir.join("data"), &[QUIET, &rules, "--alertmanagers.url=http://127.0.0.1:1"])?;
    wait_for("the reason in the log", PATIENCE, || {
        let said = cairn.process.log_tail();
        ensure!(
            said.contains("cannot deliver alerts, will try again") && said.contains("127.0.0.1:1"),
            "{said}"
        );
        Ok(())
    })?;
    wait_for("rules that go on", PATIENCE, || {
        let answer =
            api(&cairn.http, &format!("/api/v1/query?query={}", encode("count_over_time(one[1m])")), &[])?;
        let count = answer["result"][0]["value"][1].as_str().unwrap_or_default().to_owned();
        ensure!(count.parse::<f64>().is_ok_and(|n| n >= 3.0), "{answer}");
        Ok(())
    })?;
    load(dir, &cairn, &dir.join("acked"), 3)?;
    ensure!(cairn.process.terminate(PATIENCE)? == 0, "undelivered alerts do not keep it from ending");
    Ok(())
}
