//! From SIGKILL under load to ready again, many times over one growing data folder.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::measures::RESTART;
use super::scenarios::Outcome;
use crate::bench::load::{Load, verify};
use crate::bench::server::{Program, Server};

const KILLS: u32 = 20;
const KILLS_QUICK: u32 = 3;

/// Loads the series, then kills and restarts; the figure is the slowest restart.
///
/// # Errors
/// When the server does not come back, or has lost what it acked before the first kill.
pub fn run(program: Program, data: &Path, load: &Load, quick: bool) -> Result<Outcome> {
    let mut server = Server::start(program, data)?;
    let acked_log = data.join("acked");
    Load { settle_s: 0, ..*load }.run(&server, &acked_log)?;
    let background = Load { series: load.series / 10, rounds: 200, seed: 2, settle_s: 0, ..*load };
    let mut slowest = 0.0_f64;
    let kills = if quick { KILLS_QUICK } else { KILLS };
    for kill in 0..kills {
        let mut sender = background.spawn(&server, &data.join("acked-background"))?;
        // Moments spread over one second; the golden ratio keeps them from clustering.
        let moment = f64::from(kill) * 0.618 % 1.0;
        std::thread::sleep(Duration::from_secs_f64(1.0 + moment));
        let folder = server.kill();
        let status = sender.wait().context("cannot wait for load-tests")?;
        ensure!(!status.success(), "the load was over before the server was killed");
        server = Server::start(program, &folder)?;
        slowest = slowest.max(server.ready_after.as_secs_f64());
    }
    // A restart that is fast because it forgot is none. Peers do not promise this, so only cairn is held to it.
    if program == Program::Cairn {
        verify(&server, &acked_log, 20)?;
    }
    let note = format!("{}, killed {kills} times under load, the slowest counts", load.describe());
    Ok(Outcome { figures: vec![(RESTART.name, slowest)], limits: Vec::new(), note })
}
