//! What sealing a window costs while samples go on arriving, and what the block weighs.
//!
//! Windows are aligned to the clock, and nobody waits two hours for one to end. So the load is of the past, and cairn is
//! told to close windows as long after their end as it takes until the load has come there ([`Plan::close_delay_s`]).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::measures::{BLOCK_BYTES, RSS_HOURS, SEAL_GROWTH, SEAL_P99};
use super::scenarios::{Outcome, number};
use crate::bench::load::{Load, verify};
use crate::bench::server::{Program, Server};

const WINDOW_MS: i64 = 2 * 3600 * 1000;
const STEP_MS: i64 = 15_000;
/// Rounds of a window.
const WINDOW_ROUNDS: u64 = (WINDOW_MS / STEP_MS) as u64;
/// Rounds behind the window's end: an hour, and what Prometheus needs beyond it to compact the window.
const ROUNDS_AFTER: u64 = 250;
/// Of these, rounds that are sent before the window is closed.
const QUIET_ROUNDS: u64 = 60;
/// Seconds before the window is closed at which its load must be over.
const MARGIN_S: u64 = 5;
/// Longest wait for a block.
const BLOCK_TIMEOUT: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(100);

/// When the window of a run begins and ends, and when it is closed.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plan {
    start_ms: i64,
    end_ms: i64,
    close_at_ms: i64,
}

impl Plan {
    /// For a load that begins at `now_ms` and has sent the window after `load_s` seconds.
    fn new(now_ms: i64, load_s: u64) -> Self {
        // The rounds behind the window's end must not lie in the future.
        let after_ms = ROUNDS_AFTER as i64 * STEP_MS;
        let end_ms = (now_ms - after_ms).div_euclid(WINDOW_MS) * WINDOW_MS;
        Plan { start_ms: end_ms - WINDOW_MS, end_ms, close_at_ms: now_ms + load_s as i64 * 1000 }
    }

    fn close_delay_s(&self) -> i64 {
        (self.close_at_ms - self.end_ms) / 1000
    }

    fn seconds_left(&self) -> Result<u64> {
        let left = (self.close_at_ms - now_ms()) / 1000;
        let late = "the window was due before its load was over: this machine is too slow for this scenario";
        u64::try_from(left).ok().filter(|left| *left >= MARGIN_S).context(late)
    }

    /// Waits until the window is about to be closed.
    fn wait(&self) -> Result<()> {
        std::thread::sleep(Duration::from_secs(self.seconds_left()? - MARGIN_S + 1));
        Ok(())
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64
}

/// Three hours of `load`, the window in them sealed under half the load of before.
///
/// # Errors
/// When anything was refused or lost, or the window was not sealed while the load went on.
pub fn three_hours(data: &Path, load: &Load) -> Result<Outcome> {
    let samples = load.series as u64 * (WINDOW_ROUNDS + QUIET_ROUNDS);
    let plan = Plan::new(now_ms(), 30 + samples / 600_000);
    let server = Server::start_with(
        Program::Cairn,
        data,
        &[&format!("--tsdb.close-delay={}s", plan.close_delay_s())],
    )?;
    let acked_log = data.join("acked");
    let whole = Load { rounds: WINDOW_ROUNDS, start_ms: Some(plan.start_ms), settle_s: 0, ..*load };
    let rate = number(&whole.run(&server, &acked_log)?, "/steady/samples_per_s")? / 2.0;
    let half = |first: u64, rounds: u64| {
        let start_ms = Some(plan.end_ms + first as i64 * STEP_MS);
        Load { rounds, start_ms, rate: Some(rate), settle_s: 0, ..*load }
    };
    let quiet = half(0, QUIET_ROUNDS).run(&server, &acked_log)?;
    plan.wait()?;
    let before = rss_anon_bytes(server.pid())?;
    let last = Load { settle_s: load.settle_s, ..half(QUIET_ROUNDS, ROUNDS_AFTER - QUIET_ROUNDS) };
    let (summary, peak) = watched(&server, || last.run(&server, &acked_log))?;
    verify(&server, &acked_log, 20)?;
    let (p99, quiet_p99) =
        (number(&summary, "/steady/latency_ms/p99")?, number(&quiet, "/steady/latency_ms/p99")?);
    let rss = number(&summary, "/server_rss_anon_bytes")? / load.series as f64;
    let growth = (peak as f64 / before as f64 - 1.0) * 100.0;
    let note = format!(
        "{} over 3 h, one window sealed at {rate:.0} samples/s; RssAnon {:.1} MB before, {:.1} MB at most; p99 {quiet_p99:.1} ms before",
        load.describe(),
        before as f64 / 1e6,
        peak as f64 / 1e6,
    );
    Ok(Outcome {
        figures: vec![(SEAL_P99.name, p99), (SEAL_GROWTH.name, growth), (RSS_HOURS.name, rss)],
        limits: vec![(2.0 * quiet_p99 + 5.0, 1.5 * quiet_p99 + 2.0)],
        note,
    })
}

/// Runs `load` and gives the greatest RssAnon from its begin until the sealed window was released.
fn watched(server: &Server, load: impl FnOnce() -> Result<Value>) -> Result<(Value, u64)> {
    let (peak, over) = (Mutex::new(0u64), AtomicBool::new(false));
    let summary = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| -> Result<bool> {
            while !over.load(Ordering::Relaxed) {
                let now = rss_anon_bytes(server.pid())?;
                let mut peak = peak.lock().expect("the watcher does not panic");
                *peak = now.max(*peak);
                if server.metric("cairn_generations_released_total")?.unwrap_or(0.0) > 0.0 {
                    return Ok(true);
                }
                drop(peak);
                std::thread::sleep(POLL);
            }
            Ok(false)
        });
        let summary = load();
        over.store(true, Ordering::Relaxed);
        let released = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
        ensure!(released, "the window was not sealed, cut and released while the load went on");
        summary
    })?;
    Ok((summary, peak.into_inner().expect("the watcher does not panic")))
}

fn rss_anon_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).context("no RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().context("RssAnon is no number")?;
    Ok(kib * 1024)
}

/// The block of one window: bytes of chunks and index a sample.
///
/// # Errors
/// When anything was refused, or no block came.
pub fn block_bytes(program: Program, data: &Path, load: &Load) -> Result<Outcome> {
    let samples = load.series as u64 * (WINDOW_ROUNDS + ROUNDS_AFTER);
    let plan = Plan::new(now_ms(), 20 + samples / 300_000);
    let delay = format!("--tsdb.close-delay={}s", plan.close_delay_s());
    let flags: &[&str] = if program == Program::Cairn { &[&delay] } else { &[] };
    let server = Server::start_with(program, data, flags)?;
    let all =
        Load { rounds: WINDOW_ROUNDS + ROUNDS_AFTER, start_ms: Some(plan.start_ms), settle_s: 0, ..*load };
    all.run(&server, &data.join("acked"))?;
    if program == Program::Cairn {
        plan.seconds_left()?;
    }
    let begun = Instant::now();
    let (bytes, samples) = loop {
        if let Some(found) = first_block(data)? {
            break found;
        }
        ensure!(begun.elapsed() < BLOCK_TIMEOUT, "no block after {} s", BLOCK_TIMEOUT.as_secs());
        std::thread::sleep(POLL);
    };
    let wanted = load.series as u64 * WINDOW_ROUNDS;
    ensure!(samples == wanted, "the block has {samples} samples, not {wanted}");
    let note = format!("{} of one window of 2 h, chunks and index", load.describe());
    Ok(Outcome { figures: vec![(BLOCK_BYTES.name, bytes as f64 / samples as f64)], limits: Vec::new(), note })
}

/// Bytes of chunks and index, and samples, of a block anywhere below `folder`.
fn first_block(folder: &Path) -> Result<Option<(u64, u64)>> {
    let Some(block) = find_block(folder) else { return Ok(None) };
    let meta = fs::read(block.join("meta.json")).context("cannot read the block's meta.json")?;
    let meta: Value = serde_json::from_slice(&meta).context("meta.json is no JSON")?;
    let samples = meta["stats"]["numSamples"].as_u64().context("meta.json counts no samples")?;
    let mut bytes = fs::metadata(block.join("index")).context("a block has an index")?.len();
    for chunks in fs::read_dir(block.join("chunks")).context("a block has chunks")? {
        bytes += chunks?.metadata()?.len();
    }
    if samples == 0 {
        bail!("{} is empty", block.display());
    }
    Ok(Some((bytes, samples)))
}

fn find_block(folder: &Path) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let path = entry.path();
        let temporary = path.extension().is_some(); // 01….tmp-for-creation
        if path.is_dir() && !temporary {
            if path.join("meta.json").is_file() {
                return Some(path);
            }
            if let Some(found) = find_block(&path) {
                return Some(found);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_whole_past_and_closed_when_the_load_is_over() {
        for now_ms in [1_790_000_000_000, 1_790_000_000_000 + WINDOW_MS - 1, 1_790_003_599_999] {
            let plan = Plan::new(now_ms, 90);
            assert_eq!((plan.end_ms % WINDOW_MS, plan.end_ms - plan.start_ms), (0, WINDOW_MS));
            let last = plan.end_ms + ROUNDS_AFTER as i64 * STEP_MS;
            assert!((now_ms - WINDOW_MS..=now_ms).contains(&last), "the last round is not in the future");
            let closed = plan.end_ms + plan.close_delay_s() * 1000;
            assert!((now_ms + 89_000..=now_ms + 90_000).contains(&closed));
        }
    }
}
