//! Decompression bombs and lying lengths against a server that already holds some data.

use std::path::Path;

use anyhow::Result;

use super::measures::BOMBS;
use super::scenarios::{Outcome, number};
use crate::bench::load::{self, Load};
use crate::bench::server::{Program, Server};

/// Warms the server up, so that the figure is the bombs' alone, then throws them.
///
/// # Errors
/// When the load is refused, or cairn takes a bomb or breaks a sender's connection.
pub fn run(program: Program, data: &Path, load: &Load) -> Result<Outcome> {
    let server = Server::start(program, data)?;
    load.run(&server, &data.join("acked"))?;
    let line = load::bombs(&server)?;
    let growth_mb = number(&line, "/server_rss_anon_growth_bytes")? / 1e6;
    let cpu_s = number(&line, "/server_cpu_s")?;
    let note = format!("4 × 12.6 MB to 256 MiB and 1,000 headers claiming 1 GiB; {cpu_s:.2} s CPU");
    Ok(Outcome { figures: vec![(BOMBS.name, growth_mb)], limits: Vec::new(), note })
}
