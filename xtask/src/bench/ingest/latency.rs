//! Slow requests at half of saturation, beside what the bare disk does at the same time.
//!
//! A log that is synced before each answer cannot beat the disk, and this machine's disk has its moods; so a probe that
//! only writes and syncs runs in turn with the load, and the limit follows from it: must 2 × its p99 + 5 ms, aim
//! 1.5 × + 2 ms.
//!
//! The probe writes as often and as long as the load sends: where the kernel's or somebody else's threads take a processor
//! for milliseconds now and then, one that is over in a moment would not meet them. It has the processors for itself
//! otherwise, which no server at half of saturation has; so it also runs beside threads that compute as much as the server
//! did, and the row says what that came to, and how late the senders woke up for a request that was due. A latency counts
//! from there, but from the due time where an earlier answer came too late.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::measures::P99_HALF;
use super::scenarios::{Outcome, fsyncs, number};
use crate::bench::load::{Load, verify};
use crate::bench::row::Spread;
use crate::bench::server::{Program, Server};

/// Turns of probe and load.
const TURNS: usize = 3;
/// Bytes of one log write: a request of 2,000 samples at the 7 B a sample that the log may take.
const PROBE_BYTES: usize = 14_000;
/// Longest probe.
const PROBE_TIME: Duration = Duration::from_secs(3);
/// Rounds of the load at half of saturation.
const ROUNDS: u64 = 11;

/// Finds the saturated rate, then measures at half of it.
///
/// # Errors
/// When anything was refused or lost, or nothing was synced.
pub fn run(program: Program, data: &Path, load: &Load) -> Result<Outcome> {
    let server = Server::start(program, data)?;
    let acked_log = data.join("acked");
    let warm_up = Load { settle_s: 0, ..*load };
    let rate = number(&warm_up.run(&server, &acked_log)?, "/steady/samples_per_s")? / 2.0;
    let half = Load { rate: Some(rate), rounds: ROUNDS, settle_s: 0, ..*load };
    let pace = Pace::of(&half, rate);
    let mut p99s = Vec::new();
    let (mut disk_p99s, mut busy_p99s, mut late_p99s) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..TURNS {
        let half = Load { seed: 2 + turn as u64, ..half };
        disk_p99s.push(disk_p99_ms(&data.join("probe"), pace)?);
        let summary = half.run(&server, &acked_log)?;
        p99s.push(number(&summary, "/steady/latency_ms/p99")?);
        late_p99s.push(number(&summary, "/steady/sender_late_ms/p99")?);
        let ns = number(&summary, "/steady/server_cpu_ns_per_sample")?;
        let processors = ns * 1e-9 * number(&summary, "/steady/samples_per_s")?;
        busy_p99s.push(beside_computing(processors, || disk_p99_ms(&data.join("probe"), pace))?);
    }
    verify(&server, &acked_log, 1)?;
    let p99 = Spread::of(&p99s).context("no turn was run")?.median;
    let disk = Spread::of(&disk_p99s).context("no turn was run")?.median;
    let busy = Spread::of(&busy_p99s).context("no turn was run")?.median;
    let late = Spread::of(&late_p99s).context("no turn was run")?.median;
    let note = format!(
        "{}; bare fdatasync p99 {disk:.1} ms, {busy:.1} ms with the processors as busy as by the server; senders woke up {late:.1} ms late (p99, not counted){}",
        half.describe(),
        fsyncs(&server)?
    );
    let limits = vec![(2.0 * disk + 5.0, 1.5 * disk + 2.0)];
    Ok(Outcome { figures: vec![(P99_HALF.name, p99)], limits, note })
}

/// Does `work` while threads keep so many processors busy, a part of each millisecond.
fn beside_computing<T>(processors: f64, work: impl FnOnce() -> T) -> T {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let period = Duration::from_millis(1);
    let busy = period.mul_f64((processors / threads as f64).clamp(0.0, 1.0));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    while begun.elapsed() < busy {
                        std::hint::spin_loop();
                    }
                    std::thread::sleep(period.saturating_sub(begun.elapsed()));
                }
            });
        }
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// How often the probe writes, and how many times: as the load does.
#[derive(Clone, Copy)]
struct Pace {
    spacing: Duration,
    writes: u32,
}

impl Pace {
    fn of(load: &Load, samples_per_s: f64) -> Self {
        let requests = load.series.div_ceil(load.request_samples) as u64 * load.rounds;
        let spacing = Duration::from_secs_f64(load.request_samples as f64 / samples_per_s);
        let writes = requests.min(PROBE_TIME.div_duration_f64(spacing) as u64);
        Pace { spacing, writes: u32::try_from(writes).unwrap_or(u32::MAX) }
    }
}

/// p99 of writing and syncing one log record after another, milliseconds. Counted as the senders do: from when the thread
/// woke up, or from when the write was due if the one before took too long.
fn disk_p99_ms(path: &Path, pace: Pace) -> Result<f64> {
    let what = || format!("cannot probe the disk with {}", path.display());
    let mut file = File::create(path).with_context(what)?;
    let record = vec![0x5a; PROBE_BYTES];
    let mut times = Vec::with_capacity(pace.writes as usize);
    let begun = Instant::now();
    for n in 0..pace.writes {
        let due = begun + pace.spacing * n;
        let left = due.saturating_duration_since(Instant::now());
        std::thread::sleep(left);
        let start = if left.is_zero() { due } else { Instant::now() };
        file.write_all(&record).with_context(what)?;
        file.sync_data().with_context(what)?;
        times.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    std::fs::remove_file(path).with_context(what)?;
    times.sort_by(f64::total_cmp);
    let rank = (times.len() * 99).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().context("the load has no requests")
}
