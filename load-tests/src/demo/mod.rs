//! `load-tests demo`: hours of a small service's metrics into any number of receivers alike, to compare their answers.
//!
//! Parts in order: `service` (series and their values, step by step) → slices of time as remote-write 1.0 requests → one
//! connection to each receiver, in order. The families are those which the PromQL compliance queries name; three
//! instances restart (counters fall to zero), go away for minutes (stale markers, then nothing) and one family comes
//! and goes. Invariant: equal options send equal samples, to every receiver the same.

mod service;

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use service::Service;

use crate::sender::{Outcome, Policy, Request, Senders};
use crate::target::Target;
use crate::wire::{Proto, SeriesSamples, encode_series, request_head};

/// Steps that go into one request; keeps a request below 10,000 samples.
const STEPS_PER_REQUEST: u64 = 20;
/// How long a request that got 5xx is repeated.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to send, http://HOST:PORT/PATH; several get the same.
    #[arg(long, required = true)]
    url: Vec<String>,
    /// Minutes of data.
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// Milliseconds between two scrapes.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(i64).range(1..))]
    step_ms: i64,
    /// Timestamp of the last scrape, Unix ms; now when absent.
    #[arg(long)]
    end_ms: Option<i64>,
    /// Seed of all values; equal seeds send equal samples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tenant, sent as THANOS-TENANT.
    #[arg(long)]
    tenant: Option<String>,
}

/// Runs the command; prints one JSON line a receiver.
///
/// # Errors
/// When an argument makes no sense; what a receiver does is an [`Outcome`].
pub fn run(args: &Args) -> Result<Outcome> {
    let end_ms = match args.end_ms {
        Some(end) => end,
        None => i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis())?,
    };
    let span_ms = i64::try_from(args.minutes).context("cannot send that many minutes")? * 60_000;
    let steps = u64::try_from(span_ms / args.step_ms)? + 1;
    let start_ms = end_ms - (steps as i64 - 1) * args.step_ms;
    ensure!(start_ms > 0, "cannot begin at {start_ms} ms: expected a time after 1970");

    let mut worst = Outcome::AllAcked;
    for url in &args.url {
        let target = Target::parse(url)?;
        let head = request_head(&target, Proto::V1, args.tenant.as_deref());
        let mut service = Service::new(args.seed, start_ms, args.step_ms);
        let (requests, samples) = requests(&mut service, steps, &head)?;
        let Ok(address) = target.address().inspect_err(|error| eprintln!("{error:#}")) else {
            worst = Outcome::Unreachable;
            continue;
        };
        let policy = Policy { address, retry_for: RETRY_FOR, spacing: None, reconnect: false };
        let tally = Senders::new(policy, 1).send(1, &[requests], None)?;
        println!(
            "{}",
            json!({
                "event": "demo", "url": url, "series": service.len(), "samples": samples, "acked": tally.acked,
                "refused": tally.refused, "unknown": tally.unknown, "first_refusal": tally.first_refusal,
                "start_ms": start_ms, "end_ms": end_ms, "step_ms": args.step_ms,
                "resets": service.resets(), "stale_markers": service.stale_markers(),
            })
        );
        worst = worst.worse(tally.outcome());
    }
    Ok(worst)
}

/// All requests in the order of time, and how many samples they hold.
fn requests(service: &mut Service, steps: u64, head: &str) -> Result<(Vec<Request>, u64)> {
    let mut requests = Vec::new();
    let mut total = 0;
    let mut left = steps;
    while left > 0 {
        let slice = left.min(STEPS_PER_REQUEST);
        left -= slice;
        let mut series: Vec<SeriesSamples> = service.series().map(|labels| (labels, Vec::new())).collect();
        for _ in 0..slice {
            let timestamp_ms = service.advance();
            for (index, value) in service.scrape() {
                series[index].1.push((value, timestamp_ms));
            }
        }
        series.retain(|(_, samples)| !samples.is_empty());
        let samples: usize = series.iter().map(|(_, samples)| samples.len()).sum();
        let body = encode_series(&series)?;
        let mut bytes = format!("{head}{}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(&body);
        total += samples as u64;
        requests.push(Request { bytes, samples: u32::try_from(samples)?, index: requests.len() as u32 });
    }
    Ok((requests, total))
}
