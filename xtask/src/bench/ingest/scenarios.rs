//! What is run for which rows: one server, one load, several figures.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::measures as m;
use super::{Figures, bombs, latency, restart, seal};
use crate::bench::Options;
use crate::bench::load::{Load, verify};
use crate::bench::row::Measure;
use crate::bench::server::{Program, Server};

/// Seconds of CPU that count after the last answer: merges and flushes that the load left behind.
const SETTLE_S: u64 = 15;
/// Instances of which one is asked for again when all would take longer than the load itself.
const VERIFY_EVERY_LARGE: usize = 20;

/// A scenario.
pub struct Scenario {
    /// Name in the progress lines.
    pub name: &'static str,
    /// Rows it fills.
    pub rows: &'static [Measure],
    kind: Kind,
}

enum Kind {
    /// One load on a fresh server.
    Plain(Load),
    /// Half of saturation beside a bare disk.
    HalfLoad,
    /// Killed again and again.
    Restarts,
    /// Bodies that decode to far more than they are.
    Bombs,
    /// A window becomes a block.
    Block,
    /// Three hours, with a window sealed under load.
    ThreeHours,
}

/// Figures of one run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// By row name.
    pub figures: Figures,
    /// (must, aim) of the scenario's first row, when they follow from this machine's disk.
    pub limits: Vec<(f64, f64)>,
    /// What the reader needs beside the figures.
    pub note: String,
}

const STEADY: Load = Load {
    proto: 1,
    series: 200_000,
    rounds: 31,
    churn: 1.0,
    shuffle: false,
    reconnect: false,
    rate: None,
    seed: 1,
    settle_s: SETTLE_S,
    start_ms: None,
    request_samples: 2_000,
};

/// A million series for seven scrapes, none replaced, so that memory is that of a million.
pub const MILLION: Load = Load { series: 1_000_000, rounds: 7, churn: 0.0, ..STEADY };

/// All scenarios in the order they run.
pub const SCENARIOS: &[Scenario] = &[
    // First, because others are judged by it.
    Scenario { name: "no churn", rows: &[m::RW1_STILL], kind: Kind::Plain(Load { churn: 0.0, ..STEADY }) },
    Scenario {
        name: "steady",
        rows: &[m::RW1_STEADY, m::NEW_SERIES, m::WAL_BYTES],
        kind: Kind::Plain(STEADY),
    },
    Scenario {
        name: "shuffled",
        rows: &[m::RW1_SHUFFLED],
        kind: Kind::Plain(Load { shuffle: true, ..STEADY }),
    },
    Scenario {
        name: "restarted sender",
        rows: &[m::RW1_RESTARTED],
        kind: Kind::Plain(Load { reconnect: true, ..STEADY }),
    },
    Scenario {
        name: "remote write 2.0",
        rows: &[m::RW2_STEADY],
        kind: Kind::Plain(Load { proto: 2, ..STEADY }),
    },
    Scenario {
        name: "a million series",
        rows: &[m::RW1_MILLION, m::RSS_MILLION],
        kind: Kind::Plain(MILLION),
    },
    Scenario { name: "half load", rows: &[m::P99_HALF], kind: Kind::HalfLoad },
    Scenario { name: "restarts", rows: &[m::RESTART], kind: Kind::Restarts },
    Scenario { name: "bombs", rows: &[m::BOMBS], kind: Kind::Bombs },
    Scenario { name: "a block", rows: &[m::BLOCK_BYTES], kind: Kind::Block },
    Scenario {
        name: "three hours",
        rows: &[m::SEAL_P99, m::SEAL_GROWTH, m::RSS_HOURS],
        kind: Kind::ThreeHours,
    },
];

impl Scenario {
    /// Runs of it; the longest ones, whose figures hardly move, run once.
    pub fn repeat(&self, options: &Options) -> usize {
        match &self.kind {
            Kind::Restarts | Kind::Block | Kind::ThreeHours => 1,
            _ => options.repeat,
        }
    }

    /// Whether the program is run. VictoriaMetrics answers remote write 2.0 with 2xx and stores nothing, and has no such
    /// blocks; Prometheus would take half an hour for three hours of samples, and nothing is judged by peers there.
    pub fn runs(&self, program: Program) -> bool {
        match (&self.kind, program) {
            (Kind::Plain(load), Program::VictoriaMetrics) => load.proto != 2,
            (Kind::Block, Program::VictoriaMetrics) => false,
            (Kind::ThreeHours, program) => program == Program::Cairn,
            _ => true,
        }
    }

    /// Runs it once on a fresh folder.
    ///
    /// # Errors
    /// When a figure would not count; the text says why.
    pub fn run(&self, program: Program, data: &Path, quick: bool) -> Result<Outcome> {
        match &self.kind {
            Kind::Plain(load) => plain(program, data, &shrunk(*load, quick)),
            Kind::HalfLoad => latency::run(program, data, &shrunk(STEADY, quick)),
            Kind::Restarts => restart::run(program, data, &shrunk(MILLION, quick), quick),
            Kind::Bombs => bombs::run(program, data, &shrunk(STEADY, true)),
            Kind::Block => {
                seal::block_bytes(program, data, &Load { series: STEADY.series / 10, churn: 0.0, ..STEADY })
            }
            Kind::ThreeHours => {
                let series = if quick { STEADY.series / 10 } else { STEADY.series };
                seal::three_hours(data, &Load { series, churn: 0.0, ..STEADY })
            }
        }
    }
}

/// A tenth of the series and fewer rounds.
fn shrunk(load: Load, quick: bool) -> Load {
    if !quick {
        return load;
    }
    Load { series: load.series / 10, rounds: load.rounds.min(11), settle_s: 2, ..load }
}

fn plain(program: Program, data: &Path, load: &Load) -> Result<Outcome> {
    let server = Server::start(program, data)?;
    let acked_log = data.join("acked");
    let summary = load.run(&server, &acked_log)?;
    let note = format!("{}{}", load.describe(), fsyncs(&server)?);
    let samples = summary["acked"].as_f64().context("the generator's summary has no acked")?;
    let wal_bytes = wal_bytes(data) as f64 / samples;
    let every = if samples > 2e7 { VERIFY_EVERY_LARGE } else { 1 };
    verify(&server, &acked_log, every)?;

    let steady = number(&summary, "/steady/server_cpu_ns_per_sample")?;
    let mut figures = vec![
        (m::RW1_STEADY.name, steady),
        (m::NEW_SERIES.name, number(&summary, "/first_round/server_cpu_us_per_new_series")?),
    ];
    // VictoriaMetrics has no log.
    if wal_bytes > 0.0 {
        figures.push((m::WAL_BYTES.name, wal_bytes));
    }
    let rss = number(&summary, "/server_rss_anon_bytes")? / load.series as f64;
    for row in [m::RW1_STILL, m::RW1_SHUFFLED, m::RW1_RESTARTED, m::RW2_STEADY, m::RW1_MILLION] {
        figures.push((row.name, steady));
    }
    figures.push((m::RSS_MILLION.name, rss));
    Ok(Outcome { figures, limits: Vec::new(), note })
}

/// A number of the generator's summary.
pub fn number(summary: &Value, pointer: &str) -> Result<f64> {
    summary
        .pointer(pointer)
        .and_then(Value::as_f64)
        .with_context(|| format!("the generator's summary has no {pointer}"))
}

/// `; N fsyncs` of cairn's log. A log that was never synced makes the run worthless.
pub fn fsyncs(server: &Server) -> Result<String> {
    if server.program != Program::Cairn {
        return Ok(String::new());
    }
    let count = server.metric("cairn_wal_fsyncs_total")?.unwrap_or(0.0);
    ensure!(count > 0.0, "cairn_wal_fsyncs_total is 0: nothing was made durable");
    Ok(format!("; {count} fsyncs"))
}

/// Bytes of all files in folders named `wal` under `folder`.
fn wal_bytes(folder: &Path) -> u64 {
    fn walk(folder: &Path, in_wal: bool) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| match entry.metadata() {
                Ok(meta) if meta.is_dir() => walk(&entry.path(), in_wal || entry.file_name() == "wal"),
                Ok(meta) if in_wal => meta.len(),
                _ => 0,
            })
            .sum()
    }
    walk(folder, false)
}
