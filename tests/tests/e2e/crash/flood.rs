//! More new series than there is memory for.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{start_load, verify};
use crate::http::{get, metric};
use crate::process::{Cairn, built};

const PATIENCE: Duration = Duration::from_secs(300);

/// About twice what the head's share of [`LIMIT`] has room for.
const FLOOD: &[&str] =
    &["--series", "300000", "--rounds", "1", "--request-samples", "2000", "--connections", "2"];
const LIMIT: &str = "--memory.limit=128MiB";

const CREATED: &str = "prometheus_tsdb_head_series_created_total ";

#[test]
fn a_flood_of_series_is_refused_at_the_limit_and_taken_when_it_is_raised() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let (dir, log) = (temp.path(), temp.path().join("flood"));
    let start = |limit: &[&str]| {
        let flags = [&["--self-monitoring.disable", "--receive.tenant-max-series=0"], limit].concat();
        Cairn::start_as(std::process::Command::new(built("cairn")?), dir, &dir.join("data"), &flags)
    };
    let cairn = start(&[LIMIT])?;
    let load = start_load(dir, &cairn.write, &log, 0, FLOOD)?;
    ensure!(load.wait(PATIENCE)? == 1, "some must be refused");
    let refused = metric(&cairn.http, "cairn_memory_refused_total{what=\"series\"}")?;
    let series = metric(&cairn.http, CREATED)?;
    ensure!(refused > 0.0 && series > 50_000.0 && series < 300_000.0, "{series} taken, {refused} refused");
    let (status, _) = get(&cairn.http, "/-/ready", &[])?;
    ensure!(status == 200, "the node is ready: status {status}");
    let acked = verify(&cairn, &log)?;

    // Nothing that was acknowledged depends on the limit, and what was refused is taken once there is room.
    cairn.process.kill()?;
    let cairn = start(&[])?;
    ensure!(verify(&cairn, &log)? == acked);
    let load = start_load(dir, &cairn.write, &log, 0, FLOOD)?;
    ensure!(load.wait(PATIENCE)? == 0, "everything is taken");
    let more = metric(&cairn.http, CREATED)?;
    ensure!(series + more >= 300_000.0, "{series} taken before, {more} afterwards");
    println!("series={series} acked={acked} missing=0 doubled=0");
    ensure!(cairn.process.terminate(PATIENCE)? == 0, "cairn must end well after SIGTERM");
    Ok(())
}
