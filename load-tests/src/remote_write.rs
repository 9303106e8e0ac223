//! `load-tests remote-write`: sends rounds of samples as fast as they are answered, or at a given pace, and reports in
//! JSON lines.
//!
//! Parts in order: [`Args`] → payloads of as many rounds as fit the budget, encoded before the clock starts → a round at
//! a time over all connections → a line a round, then one summary. The first round, in which every series is new, stands
//! apart. Invariant: the clock and the CPU meters of generator and server run over sending alone, never over encoding.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::acked_log::{AckedLog, Run};
use crate::fleet::{Fleet, Plan};
use crate::latency::Percentiles;
use crate::schedule;
use crate::sender::{Outcome, Policy, Request, Senders, Tally};
use crate::server_process::{Usage, usage};
use crate::target::Target;
use crate::wire::{Encoder, Proto, mean_label_bytes, request_head};

/// What a real sender's samples measured: (raw, snappy) bytes a sample, for the reader of the first line.
const REAL_BYTES_V1: (f64, f64) = (264.7, 26.4);
const REAL_BYTES_V2: (f64, f64) = (54.9, 14.5);

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

/// A prepared round.
struct Round {
    number: u64,
    timestamp_ms: i64,
    new_series: usize,
    samples: u64,
    requests: Vec<Vec<Request>>,
}

/// Prepares payloads.
struct Loader {
    fleet: Fleet,
    encoder: Encoder,
    run: Run,
    head: String,
    budget_bytes: usize,
    next_round: u64,
    fillings: u64,
    samples: u64,
    raw_bytes: u64,
    body_bytes: u64,
}

impl Loader {
    fn new(args: &Args, run: Run, target: &Target) -> Self {
        let proto = if args.proto == 1 { Proto::V1 } else { Proto::V2 };
        let head = request_head(target, proto, args.tenant.as_deref());
        Self {
            fleet: Fleet::new(run.plan),
            encoder: Encoder::new(proto),
            run,
            head,
            budget_bytes: args.payload_mib << 20,
            next_round: 1,
            fillings: 0,
            samples: 0,
            raw_bytes: 0,
            body_bytes: 0,
        }
    }

    /// Encodes rounds until the budget is used up; at least one.
    fn fill(&mut self) -> Result<Vec<Round>> {
        self.fillings += 1;
        let mut held = 0;
        let mut rounds = Vec::new();
        while self.next_round <= self.run.rounds && (rounds.is_empty() || held < self.budget_bytes) {
            let round = self.encode()?;
            held += round.requests.iter().flatten().map(|r| r.bytes.len()).sum::<usize>();
            rounds.push(round);
        }
        Ok(rounds)
    }

    fn encode(&mut self) -> Result<Round> {
        let number = self.next_round;
        self.next_round += 1;
        let new_series = self.fleet.advance();
        let mut lanes = Vec::with_capacity(self.run.connections);
        for plans in schedule::requests(&self.run, number) {
            let mut lane = Vec::with_capacity(plans.len());
            for plan in plans {
                let encoded = self.encoder.encode(&self.fleet, &plan.series)?;
                let mut bytes = format!("{}{}\r\n\r\n", self.head, encoded.body.len()).into_bytes();
                bytes.extend_from_slice(encoded.body);
                self.raw_bytes += encoded.raw_bytes as u64;
                self.body_bytes += encoded.body.len() as u64;
                lane.push(Request { bytes, samples: plan.series.len() as u32, index: plan.index });
            }
            lanes.push(lane);
        }
        let samples = self.fleet.len() as u64;
        self.samples += samples;
        Ok(Round { number, timestamp_ms: self.fleet.timestamp_ms(), new_series, samples, requests: lanes })
    }
}

/// Sums over the rounds and writes the lines.
struct Report {
    pid: Option<u32>,
    began: Instant,
    own_before: Usage,
    server_before: Option<Usage>,
    total: Tally,
    steady_latencies_us: Vec<u32>,
    rounds: u64,
    first: Option<First>,
    steady_seconds: f64,
    steady_acked: u64,
    steady_new_series: u64,
    own_cpu_s: f64,
    peak_rss_anon_bytes: u64,
    start_usage: Option<Usage>,
}

/// The figures of the first round.
struct First {
    new_series: u64,
    seconds: f64,
    server_after: Option<Usage>,
}

impl Report {
    fn new(pid: Option<u32>) -> Result<Self> {
        let start_usage = pid.map(usage).transpose()?;
        Ok(Self {
            pid,
            began: Instant::now(),
            own_before: Usage::default(),
            server_before: None,
            total: Tally::default(),
            steady_latencies_us: Vec::new(),
            rounds: 0,
            first: None,
            steady_seconds: 0.0,
            steady_acked: 0,
            steady_new_series: 0,
            own_cpu_s: 0.0,
            peak_rss_anon_bytes: 0,
            start_usage,
        })
    }

    fn begin(&mut self) -> Result<()> {
        self.own_before = usage(std::process::id())?;
        self.server_before = self.server();
        self.began = Instant::now();
        Ok(())
    }

    /// The server's figures; none when it has ended or none was named.
    fn server(&self) -> Option<Usage> {
        self.pid.and_then(|pid| usage(pid).ok())
    }

    fn end(&mut self, round: &Round, mut tally: Tally) -> Result<Value> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.own_cpu_s += usage(std::process::id())?.cpu_s - self.own_before.cpu_s;
        let server = self.server();
        let server_cpu_s = server.zip(self.server_before).map(|(after, before)| after.cpu_s - before.cpu_s);
        self.rounds += 1;
        self.peak_rss_anon_bytes = self.peak_rss_anon_bytes.max(server.map_or(0, |s| s.rss_anon_bytes));
        let percentiles = Percentiles::of(&mut tally.latencies_us);
        if self.first.is_none() {
            self.first = Some(First { new_series: round.new_series as u64, seconds, server_after: server });
        } else {
            self.steady_seconds += seconds;
            self.steady_acked += tally.acked;
            self.steady_new_series += round.new_series as u64;
            self.steady_latencies_us.extend(&tally.latencies_us);
        }
        let line = json!({
            "event": "round", "round": round.number, "timestamp_ms": round.timestamp_ms, "samples": round.samples,
            "new_series": round.new_series, "acked": tally.acked, "refused": tally.refused, "unknown": tally.unknown,
            "retries": tally.retries, "statuses": statuses(&tally), "seconds": rounded(seconds),
            "latency_ms": percentiles.json(),
            "server_cpu_s": server_cpu_s.map(rounded), "server_rss_anon_bytes": server.map(|s| s.rss_anon_bytes),
        });
        self.total.add(tally);
        Ok(line)
    }

    fn summary(&mut self, args: &Args, loader: &Loader) -> Value {
        let settled = self.server();
        let real = if args.proto == 1 { REAL_BYTES_V1 } else { REAL_BYTES_V2 };
        let first = self.first.as_ref();
        let cpu_between = |from: Option<Usage>, to: Option<Usage>| Some(to?.cpu_s - from?.cpu_s);
        let steady_cpu_s = cpu_between(first.and_then(|f| f.server_after), settled);
        let first_cpu_s = cpu_between(self.start_usage, first.and_then(|f| f.server_after));
        let total = &mut self.total;
        json!({
            "event": "summary", "rounds": self.rounds, "acked": total.acked, "refused": total.refused,
            "unknown": total.unknown, "written": total.written, "written_unsaid": total.written_unsaid,
            "retries": total.retries, "statuses": statuses(total),
            "first_refusal": total.first_refusal, "first_break": total.first_break,
            "unreachable": total.unreachable,
            "latency_ms": Percentiles::of(&mut total.latencies_us).json(),
            "first_round": first.map(|f| json!({
                "new_series": f.new_series, "seconds": rounded(f.seconds), "server_cpu_s": first_cpu_s.map(rounded),
                "server_cpu_us_per_new_series": first_cpu_s.map(|s| rounded(s * 1e6 / f.new_series as f64)),
            })),
            "steady": {
                "acked": self.steady_acked, "new_series": self.steady_new_series,
                "seconds": rounded(self.steady_seconds),
                "samples_per_s": rounded(self.steady_acked as f64 / self.steady_seconds.max(1e-9)),
                "latency_ms": Percentiles::of(&mut self.steady_latencies_us).json(),
                "server_cpu_s": steady_cpu_s.map(rounded),
                "server_cpu_ns_per_sample": steady_cpu_s.filter(|_| self.steady_acked > 0)
                    .map(|s| rounded(s * 1e9 / self.steady_acked as f64)),
            },
            "server_rss_anon_start_bytes": self.start_usage.map(|s| s.rss_anon_bytes),
            "server_rss_anon_bytes": settled.map(|s| s.rss_anon_bytes),
            "server_rss_anon_peak_bytes": self.pid.map(|_| self.peak_rss_anon_bytes),
            "server_rss_file_bytes": settled.map(|s| s.rss_file_bytes),
            "generator": {
                "cpu_s": rounded(self.own_cpu_s),
                "cpu_s_per_million_samples": rounded(self.own_cpu_s * 1e6 / total.acked.max(1) as f64),
                "fillings": loader.fillings,
                "raw_bytes_per_sample": rounded(loader.raw_bytes as f64 / loader.samples as f64),
                "wire_bytes_per_sample": rounded(loader.body_bytes as f64 / loader.samples as f64),
                "real_raw_bytes_per_sample": real.0, "real_wire_bytes_per_sample": real.1,
            },
        })
    }
}

fn statuses(tally: &Tally) -> Value {
    tally.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect()
}

/// Three decimals are more than any of these figures can claim.
fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
