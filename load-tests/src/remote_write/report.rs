//! Adds the rounds up and writes the JSON lines: one a round, one summary.
//!
//! The first round, in which every series is new, stands apart from the steady ones. The server's CPU time of the steady
//! rounds runs until the settling time after the last answer, so that what a receiver puts off is counted too.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::Args;
use super::loader::{Loader, Round};
use crate::latency::Percentiles;
use crate::sender::Tally;
use crate::server_process::{Usage, usage};

/// What a real sender's samples measured: (raw, snappy) bytes a sample, for the reader of the first line.
const REAL_BYTES_V1: (f64, f64) = (264.7, 26.4);
const REAL_BYTES_V2: (f64, f64) = (54.9, 14.5);

/// Sums over the rounds and writes the lines.
pub struct Report {
    pid: Option<u32>,
    began: Instant,
    own_before: Usage,
    server_before: Option<Usage>,
    /// All senders over all rounds.
    pub total: Tally,
    steady_latencies_us: Vec<u32>,
    steady_oversleeps_us: Vec<u32>,
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
    /// Before the first round, with the server's figures of now.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn new(pid: Option<u32>) -> Result<Self> {
        let start_usage = pid.map(usage).transpose()?;
        Ok(Self {
            pid,
            began: Instant::now(),
            own_before: Usage::default(),
            server_before: None,
            total: Tally::default(),
            steady_latencies_us: Vec::new(),
            steady_oversleeps_us: Vec::new(),
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

    /// Starts the clock and the meters of a round.
    ///
    /// # Errors
    /// When the own process cannot be read.
    pub fn begin(&mut self) -> Result<()> {
        self.own_before = usage(std::process::id())?;
        self.server_before = self.server();
        self.began = Instant::now();
        Ok(())
    }

    /// The server's figures; none when it has ended or none was named.
    fn server(&self) -> Option<Usage> {
        self.pid.and_then(|pid| usage(pid).ok())
    }

    /// Stops them; the round's line.
    ///
    /// # Errors
    /// When the own process cannot be read.
    pub fn end(&mut self, round: &Round, mut tally: Tally) -> Result<Value> {
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
            self.steady_oversleeps_us.extend(&tally.oversleeps_us);
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

    /// The last line.
    pub fn summary(&mut self, args: &Args, loader: &Loader) -> Value {
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
                "sender_late_ms": Percentiles::of(&mut self.steady_oversleeps_us).json(),
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
pub fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
