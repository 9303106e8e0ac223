//! Drives `load-tests` against a server and reads its summary.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::server::{Program, Server};
use crate::{http, workspace};

/// One load; the fields are the generator's options.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Remote write version.
    pub proto: u8,
    /// Series alive at any time.
    pub series: usize,
    /// Rounds.
    pub rounds: u64,
    /// Percentage of the series replaced each round.
    pub churn: f64,
    /// Another order every round.
    pub shuffle: bool,
    /// New connections every round.
    pub reconnect: bool,
    /// Samples a second, as fast as possible when none.
    pub rate: Option<f64>,
    /// Seed of the run; another seed is other machines, so that runs on one server do not meet.
    pub seed: u64,
    /// Seconds the server is metered after the last answer.
    pub settle_s: u64,
    /// Timestamp of the first round, Unix milliseconds; when none, such that the last round is now.
    pub start_ms: Option<i64>,
    /// Samples a request.
    pub request_samples: usize,
}

/// Connections of every load.
pub const CONNECTIONS: usize = 4;

impl Load {
    /// What a reader needs to know of it.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{} series, {} rounds, {CONNECTIONS} connections, churn {} %",
            self.series, self.rounds, self.churn
        );
        if self.shuffle {
            text.push_str(", shuffled");
        }
        if self.reconnect {
            text.push_str(", new connections every round");
        }
        if let Some(rate) = self.rate {
            text.push_str(&format!(", {rate:.0} samples/s"));
        }
        text
    }

    fn command(&self, server: &Server, acked_log: &Path) -> Command {
        let mut command = Command::new(generator());
        command.args(["remote-write", "--url", &server.write_url]).arg("--acked-log").arg(acked_log);
        let mut option = |name: &str, value: String| {
            command.args([name, &value]);
        };
        option("--proto", self.proto.to_string());
        option("--series", self.series.to_string());
        option("--rounds", self.rounds.to_string());
        option("--connections", CONNECTIONS.to_string());
        option("--churn", self.churn.to_string());
        option("--pid", server.pid().to_string());
        option("--seed", self.seed.to_string());
        option("--settle", self.settle_s.to_string());
        option("--request-samples", self.request_samples.to_string());
        if let Some(start_ms) = self.start_ms {
            option("--start-ms", start_ms.to_string());
        }
        if let Some(rate) = self.rate {
            option("--rate", rate.to_string());
        }
        if self.shuffle {
            command.arg("--shuffle");
        }
        if self.reconnect {
            command.arg("--reconnect");
        }
        command
    }

    /// Runs the load to its end and returns the generator's summary.
    ///
    /// # Errors
    /// When anything was refused: a figure of refused samples is no figure.
    pub fn run(&self, server: &Server, acked_log: &Path) -> Result<Value> {
        let output = self
            .command(server, acked_log)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run load-tests")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let summary: Value =
            text.lines().next_back().and_then(|line| serde_json::from_str(line).ok()).with_context(|| {
                format!("cannot read what load-tests printed; it ended with {}", output.status)
            })?;
        if !output.status.success() {
            let why = ["first_refusal", "first_break"]
                .iter()
                .find_map(|k| summary[k].as_str())
                .unwrap_or("no reason");
            bail!("{} samples refused, {} unanswered: {why}", summary["refused"], summary["unknown"]);
        }
        Ok(summary)
    }

    /// Starts the load and leaves it running.
    ///
    /// # Errors
    /// When the generator cannot be started.
    pub fn spawn(&self, server: &Server, acked_log: &Path) -> Result<Child> {
        self.command(server, acked_log)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run load-tests")
    }
}

/// Asks the server for the acked samples of every `every`-th instance.
///
/// # Errors
/// When one is missing, changed, doubled or invented.
pub fn verify(server: &Server, acked_log: &Path, every: usize) -> Result<()> {
    if server.program == Program::VictoriaMetrics {
        // It shows new samples only after a flush, which it otherwise does every few seconds.
        http::get(&server.http, "/internal/force_flush")?;
    }
    server.wait_until_visible()?;
    let output = Command::new(generator())
        .args(["verify", "--url", &format!("http://{}", server.http), "--every", &every.to_string()])
        .arg("--acked-log")
        .arg(acked_log)
        .output()
        .context("cannot run load-tests")?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "what it acked is not what it answers: {}", said.trim());
    Ok(())
}

/// Throws decompression bombs at the server and returns the generator's line. cairn must refuse each with a 4xx that
/// the sender can read; a peer's figure stands whatever it answers.
///
/// # Errors
/// When the generator fails, or cairn answered otherwise.
pub fn bombs(server: &Server) -> Result<Value> {
    let output = Command::new(generator())
        .args(["bombs", "--url", &server.write_url, "--pid", &server.pid().to_string()])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run load-tests")?;
    let line: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("cannot read what load-tests printed; it ended with {}", output.status))?;
    ensure!(
        output.status.success() || server.program != Program::Cairn,
        "bombs were not refused with a status that the sender reads: {line}"
    );
    Ok(line)
}

fn generator() -> std::path::PathBuf {
    workspace::target().join("release").join("load-tests")
}
