//! What the engine costs: nanoseconds of CPU a sample, bytes a series, log bytes a sample, microseconds a new series.
//!
//! `cargo run --release -p cairn-tsdb --example append_bench -- [series] [rounds] [partitions] [dir]`; `READS=N` reads
//! a quarter of the series N times.
//!
//! The load is the generator's in shape: 500 series an instance with 9 to 11 labels of about 244 bytes, a mix of
//! counters, idle counters, gauges, buckets and constants, 2,000 samples a request, 15 s apart. Requests name known
//! series by reference, as the receiver's order cache does. Filling the batches is measured apart and taken off.
#![allow(clippy::disallowed_methods)] // a measurement reads the process' own counters

use std::time::Instant;

use cairn_model::batch::BatchSeries;
use cairn_model::storage::SeriesRequest;
use cairn_model::{Labels, Matcher, TenantId, WriteBatch};
use cairn_runtime::Runtime;
use cairn_tsdb::db::append::RequestTag;
use cairn_tsdb::wal::SyncMode;
use cairn_tsdb::{Db, DbOptions};
use futures::TryStreamExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUEST_SAMPLES: usize = 2000;
const STEP_MS: i64 = 15_000;

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("stat").split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime");
    ticks as f64 / 100.0
}

fn rss_anon_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|l| l.starts_with("RssAnon")).expect("RssAnon");
    line.split_whitespace().nth(1).expect("kB").parse::<u64>().expect("a number") * 1024
}

fn labels_of(n: usize) -> Labels {
    let (instance, metric) = (n / 500, n % 500);
    let mut pairs = vec![
        ("__name__".to_owned(), format!("node_subsystem_{}_operations_total", metric / 8)),
        ("instance".to_owned(), format!("node-{instance:05}.prod.example.internal:9100")),
        ("job".to_owned(), "kubernetes-nodes-exporter".to_owned()),
        ("cluster".to_owned(), format!("prod-eu-west-{}", instance % 4)),
        ("namespace".to_owned(), format!("monitoring-{}", instance % 10)),
        ("pod".to_owned(), format!("node-exporter-{:08x}", instance.wrapping_mul(2_654_435_761) as u32)),
        ("environment".to_owned(), "production".to_owned()),
        ("device".to_owned(), format!("nvme{}n1p{}", metric % 8, metric % 3)),
        ("mode".to_owned(), ["idle", "user", "system", "iowait"][metric % 4].to_owned()),
    ];
    if metric % 3 != 0 {
        pairs.push(("zone".to_owned(), format!("eu-west-{}{}", instance % 4, ["a", "b", "c"][instance % 3])));
    }
    if metric % 3 == 2 {
        pairs.push(("le".to_owned(), format!("{}", 1 << (metric % 12))));
    }
    Labels::from_pairs(pairs).expect("unique names")
}

fn value(n: usize, round: usize) -> f64 {
    let h = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let jitter = (h ^ (round as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9)) >> 40;
    match n % 10 {
        0..=3 => ((h >> 44) + round as u64 * ((h >> 54) + 1) + jitter % 8) as f64, // busy counters
        4 | 5 => (h >> 50) as f64,                                                 // idle counters
        6 => (jitter % 100_000) as f64 / 1000.0,                                   // decimal gauges
        7 => (h >> 40) as f64 * 4096.0 + (jitter % 1000) as f64 * 4096.0,          // memory gauges
        8 => ((h >> 56) + round as u64) as f64,                                    // buckets
        _ => 1.0,
    }
}

struct Load {
    batches: Vec<WriteBatch>,
    first: Vec<usize>,
}

impl Load {
    fn new(series: usize) -> Self {
        let tenant = TenantId::default_tenant();
        let (mut batches, mut first) = (Vec::new(), Vec::new());
        for start in (0..series).step_by(REQUEST_SAMPLES) {
            let mut batch = WriteBatch::new(tenant.clone());
            for n in start..(start + REQUEST_SAMPLES).min(series) {
                batch.push_floats(labels_of(n).as_ref(), &[(0, 0.0)]);
            }
            batches.push(batch);
            first.push(start);
        }
        Load { batches, first }
    }

    fn fill(&mut self, round: usize, start_ms: i64) {
        for (batch, first) in self.batches.iter_mut().zip(&self.first) {
            batch.floats.t_ms.fill(start_ms + round as i64 * STEP_MS);
            for (i, v) in batch.floats.value.iter_mut().enumerate() {
                *v = value(first + i, round);
            }
        }
    }

    /// From now on only references, as the order cache would send.
    fn by_reference(&mut self, refs: Vec<Vec<u64>>) {
        for (batch, refs) in self.batches.iter_mut().zip(refs) {
            batch.arena = Vec::new();
            for (s, r) in batch.series.iter_mut().zip(refs) {
                *s = BatchSeries { known_ref: r, labels: 0..0, ..s.clone() };
            }
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, or: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(or);
    let (series, rounds, partitions) = (number(0, 200_000), number(1, 31), number(2, 2));
    let dir = args.get(3).map_or_else(|| std::env::temp_dir().join("cairn-append-bench"), Into::into);
    let _ = std::fs::remove_dir_all(&dir);
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("tokio");
    tokio.block_on(bench(series, rounds, partitions, dir));
}

async fn bench(series: usize, rounds: usize, partitions: usize, dir: std::path::PathBuf) {
    let options = DbOptions { wal_sync: SyncMode::Never, partitions, ..DbOptions::new(&dir) };
    let db = Db::open(options.clone(), Runtime::system(2)).await.expect("open");
    let start_ms = 1_760_000_400_000 / 7_200_000 * 7_200_000;
    let base = rss_anon_bytes();
    let mut load = Load::new(series);

    load.fill(0, start_ms);
    let cpu = cpu_seconds();
    let mut refs = Vec::new();
    for batch in &load.batches {
        refs.push(db.append_tagged(batch, RequestTag::default()).await.expect("append").refs);
    }
    let new_us = (cpu_seconds() - cpu) * 1e6 / series as f64;
    let mut filling = 0.0;
    load.by_reference(refs);
    let wal_first = wal_bytes(&dir);

    let (mut cpu_used, begun) = (0.0, Instant::now());
    for round in 1..rounds {
        let before = cpu_seconds();
        load.fill(round, start_ms);
        let filled = cpu_seconds();
        filling += filled - before;
        for batch in &load.batches {
            let done = db.append_tagged(batch, RequestTag::default()).await.expect("append");
            assert_eq!(done.floats as usize, batch.series.len());
        }
        if round % 4 == 0 {
            db.maintain().await;
        }
        cpu_used += cpu_seconds() - filled;
    }
    let samples = (series * (rounds - 1)) as f64;
    let wall = begun.elapsed().as_secs_f64();
    let wal = wal_bytes(&dir);
    println!("series {series}, rounds {rounds}, partitions {partitions}");
    println!("new series            {new_us:8.2} us CPU each");
    println!(
        "append, steady        {:8.1} ns CPU a sample (batch filling {:.1} apart)",
        cpu_used * 1e9 / samples,
        filling * 1e9 / samples
    );
    println!("wall                  {:8.2} M samples/s", samples / wall / 1e6);
    println!(
        "log                   {:8.2} bytes a sample ({:.1} bytes a series in the first round)",
        (wal - wal_first) as f64 / samples,
        wal_first as f64 / series as f64
    );
    println!("head, counted         {:8.0} bytes a series", db.head_bytes() as f64 / series as f64);
    let of_load =
        |b: &WriteBatch| b.series.capacity() * size_of::<BatchSeries>() + b.floats.t_ms.capacity() * 16;
    let load_bytes: usize = load.batches.iter().map(of_load).sum();
    let grown = rss_anon_bytes() as f64 - base as f64 - load_bytes as f64;
    println!("RssAnon, load off     {:8.0} bytes a series", grown / series as f64);
    for _ in 0..std::env::var("READS").ok().and_then(|n| n.parse().ok()).unwrap_or(3) {
        read(&db, start_ms).await;
    }
    db.shutdown();
    drop(db);
    drop(load);

    let cpu = cpu_seconds();
    let begun = Instant::now();
    let db = Db::open(options, Runtime::system(2)).await.expect("open");
    let all = (series * rounds) as f64;
    println!(
        "replay                {:8.2} s wall, {:.0} ns CPU a sample, {} samples",
        begun.elapsed().as_secs_f64(),
        (cpu_seconds() - cpu) * 1e9 / all,
        db.replay_report().samples
    );
    assert_eq!(db.replay_report().samples as f64, all);
    seal(&db, start_ms).await;
    let _ = std::fs::remove_dir_all(&dir);
}

async fn read(db: &Db, start_ms: i64) {
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    let request = SeriesRequest::new(start_ms, start_ms + 7_200_000, vec![Matcher::equal("mode", "idle")]);
    let stream = db.head_store().series(request).await.expect("readable");
    let first = begun.elapsed().as_secs_f64();
    let answer: Vec<_> = stream.try_collect().await.expect("readable");
    let read = answer.iter().map(Vec::len).sum::<usize>();
    println!(
        "read                  {:8.2} us CPU a series of {read}, {:.0} ms wall, {:.0} ms to the first",
        (cpu_seconds() - cpu) * 1e6 / read as f64,
        begun.elapsed().as_secs_f64() * 1e3,
        first * 1e3
    );
}

async fn seal(db: &Db, start_ms: i64) {
    let before = rss_anon_bytes() as f64;
    let (cpu, begun) = (cpu_seconds(), Instant::now());
    let blocks = db.seal_locally(start_ms + 100 * 7_200_000).await.expect("sealed");
    let (samples, series): (u64, u64) =
        blocks.iter().fold((0, 0), |a, b| (a.0 + b.stats.num_samples, a.1 + b.stats.num_series));
    println!(
        "seal                  {:8.0} ns CPU a sample of {samples} in {series} series, {:.2} s wall, RssAnon {:+.1} %",
        (cpu_seconds() - cpu) * 1e9 / samples as f64,
        begun.elapsed().as_secs_f64(),
        (rss_anon_bytes() as f64 / before - 1.0) * 100.0
    );
    let begun = Instant::now();
    db.maintain().await;
    println!(
        "release               {:8.2} s wall, {} series left, RssAnon {:+.1} %",
        begun.elapsed().as_secs_f64(),
        db.series(),
        (rss_anon_bytes() as f64 / before - 1.0) * 100.0
    );
}

fn wal_bytes(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir.join("wal")).expect("wal");
    files.map(|f| f.expect("entry").metadata().expect("metadata").len()).sum()
}
