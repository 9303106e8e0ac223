//! SIGKILL under load, again and again over the same data folder.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{acked_requests, start_load, thorough, verify};
use crate::process::{Cairn, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// How often cairn is killed in one run.
fn rounds() -> usize {
    if thorough() { 30 } else { 3 }
}

/// Requests acked before the kill: another number each round, so that it strikes at another moment of the log.
fn acked_before_kill(round: usize) -> usize {
    12 + round * 17 % 41
}

#[test]
fn what_was_acked_survives_sigkill_under_load() -> Result<()> {
    kill_again_and_again(&["--self-monitoring.disable"])
}

/// Windows so short that each kill strikes while some are sealed, uploaded, compacted and released.
#[test]
fn what_was_acked_survives_sigkill_while_windows_become_blocks() -> Result<()> {
    kill_again_and_again(&[
        "--self-monitoring.disable",
        "--tsdb.block-duration=10m",
        "--tsdb.close-delay=1s",
        "--compact.interval=1s",
        "--compact.levels=10m,40m",
        "--compact.settle=1s",
        "--sync-block-duration=1s",
    ])
}

fn kill_again_and_again(args: &[&str]) -> Result<()> {
    let temp = tempfile::tempdir()?;
    let (dir, data) = (temp.path(), temp.path().join("data"));
    let log = |round: usize| dir.join(format!("round-{round}"));
    let mut acked = 0;
    for round in 0..rounds() {
        let cairn = Cairn::start(dir, &data, args)?;
        let load = ["--series", "5000", "--rounds", "400", "--connections", "4", "--rate", "100000"];
        let load = start_load(dir, &cairn.write, &log(round), round, &load)?;
        wait_for("acknowledged requests", PATIENCE, || {
            let requests = acked_requests(&log(round))?;
            ensure!(requests >= acked_before_kill(round), "{requests} requests");
            Ok(())
        })?;
        cairn.process.kill()?;
        // Its target is gone, so the generator ends by itself, and not with success.
        ensure!(load.wait(PATIENCE)? != 0, "the load ended before the kill");
        // Over the same data folder, and killed again: an idle cairn in the middle of its start or of its blocks.
        let cairn = Cairn::start(dir, &data, args)?;
        let of_round = verify(&cairn, &log(round))?;
        ensure!(of_round > 0, "nothing was acked");
        acked += of_round;
        cairn.process.kill()?;
    }
    let cairn = Cairn::start(dir, &data, args)?;
    for round in 0..rounds() {
        verify(&cairn, &log(round))?;
    }
    println!("rounds={} acked={acked} missing=0 doubled=0", rounds());
    ensure!(cairn.process.terminate(PATIENCE)? == 0, "cairn must end well after SIGTERM");
    Ok(())
}
