//! `load-tests remote-write`: sends rounds of samples as fast as they are answered, or at a given pace, and reports in
//! JSON lines.
//!
//! Parts in order: [`Args`] → `loader` (payloads, encoded before the clock starts) → a round at a time over all
//! connections → `report` (a line a round, then one summary). Invariant: the clock and the CPU meters of generator and server run over sending alone, never over encoding.

mod loader;
mod report;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use loader::Loader;
use report::{Report, rounded};
use serde_json::json;

use crate::acked_log::{AckedLog, Run};
use crate::fleet::Plan;
use crate::sender::{Outcome, Policy, Senders};
use crate::target::Target;
use crate::wire::mean_label_bytes;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to send, http://HOST:PORT/PATH.
    #[arg(long)]
    url: String,
    /// Remote write version, 1 or 2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    proto: u8,
    /// Series alive at any time, about 500 an instance.
    #[arg(long, default_value_t = 200_000, value_parser = at_least_one)]
    series: usize,
    /// Rounds; each sends one sample of every series.
    #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Connections, each with its own share of the series.
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    connections: usize,
    /// Samples a request.
    #[arg(long, default_value_t = 2_000, value_parser = at_least_one)]
    request_samples: usize,
    /// Send the series in another order every round.
    #[arg(long)]
    shuffle: bool,
    /// Open new connections for every round, as a restarted sender does.
    #[arg(long)]
    reconnect: bool,
    /// Percentage of the series replaced by new ones every round.
    #[arg(long, default_value_t = 1.0)]
    churn: f64,
    /// Samples a second over all connections; as fast as answers come when absent.
    #[arg(long)]
    rate: Option<f64>,
    /// Server process whose CPU time and memory are reported.
    #[arg(long)]
    pid: Option<u32>,
    /// Seconds to go on metering the server after the last answer.
    #[arg(long, default_value_t = 0)]
    settle: u64,
    /// Tenant, sent as THANOS-TENANT.
    #[arg(long)]
    tenant: Option<String>,
    /// Timestamp of the first round, Unix ms; by default such that the last round is now.
    #[arg(long, allow_negative_numbers = true)]
    start_ms: Option<i64>,
    /// Milliseconds between the timestamps of two rounds.
    #[arg(long, default_value_t = 15_000, value_parser = clap::value_parser!(i64).range(1..))]
    step_ms: i64,
    /// Seed of values and names; equal seeds send equal samples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds for which a request that got 5xx or broke is sent again.
    #[arg(long, default_value_t = 0.0)]
    retry_for: f64,
    /// File that gets what was acked, for `load-tests verify`.
    #[arg(long)]
    acked_log: Option<PathBuf>,
    /// MiB of encoded payloads held at once; between two fillings the clock stands still.
    #[arg(long, default_value_t = 4_096)]
    payload_mib: usize,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number of 1 or more".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When an argument makes no sense or the log cannot be written; what the target does is an [`Outcome`].
pub fn run(args: &Args) -> Result<Outcome> {
    ensure!((0.0..=100.0).contains(&args.churn), "cannot churn {} %: expected 0 to 100", args.churn);
    ensure!(args.rate.is_none_or(|r| r > 0.0), "cannot send at a rate that is not positive");
    ensure!(
        u32::try_from(args.series).is_ok(),
        "cannot send {} series: expected fewer than 2^32",
        args.series
    );
    let retry_for =
        Duration::try_from_secs_f64(args.retry_for).context("cannot retry for a negative time")?;
    let target = Target::parse(&args.url)?;
    let span_ms = (args.rounds as i64 - 1) * args.step_ms;
    let start_ms = args.start_ms.unwrap_or_else(|| now_ms() - span_ms);
    let plan = Plan {
        series: args.series,
        churn_percent: args.churn,
        seed: args.seed,
        start_ms,
        step_ms: args.step_ms,
    };
    let run = Run {
        plan,
        rounds: args.rounds,
        request_samples: args.request_samples,
        connections: args.connections,
        shuffle: args.shuffle,
    };
    let log = args.acked_log.as_deref().map(|path| AckedLog::create(path, &run)).transpose()?;
    let Ok(address) = target.address().inspect_err(|error| eprintln!("{error:#}")) else {
        return Ok(Outcome::Unreachable);
    };
    let policy = Policy {
        address,
        retry_for,
        spacing: args.rate.map(|rate| Duration::from_secs_f64(args.request_samples as f64 / rate)),
        reconnect: args.reconnect,
    };
    let mut loader = Loader::new(args, run, &target);
    let mut senders = Senders::new(policy, args.connections);
    let mut report = Report::new(args.pid)?;
    println!(
        "{}",
        json!({
            "event": "plan", "url": args.url, "proto": args.proto, "series": args.series, "rounds": args.rounds,
            "connections": args.connections, "request_samples": args.request_samples, "shuffle": args.shuffle,
            "churn_percent": args.churn, "start_ms": start_ms, "step_ms": args.step_ms, "seed": args.seed,
            "label_bytes_per_series": rounded(mean_label_bytes(&loader.fleet)),
        })
    );
    'all: while loader.next_round <= args.rounds {
        for round in loader.fill()? {
            report.begin()?;
            let tally = senders.send(round.number, &round.requests, log.as_ref())?;
            let unreachable = tally.unreachable;
            println!("{}", report.end(&round, tally)?);
            if unreachable {
                break 'all;
            }
        }
    }
    if !report.total.unreachable {
        std::thread::sleep(Duration::from_secs(args.settle));
    }
    println!("{}", report.summary(args, &loader));
    Ok(report.total.outcome())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}
