//! Evaluation alone, on data in memory: the queries of the query table over 20,000 series, 6 h at 15 s.
//!
//! `cargo run --release -p cairn-promql --example engine_bench [repeats] [threads]`
//!
//! Prints for each query the median wall time, the CPU time a run and the number of results. Decoding of chunks
//! is not in it (data is in columns of 120 samples); `cargo xtask bench query` measures the whole.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_model::chunk::{ColumnValues, Columns};
use cairn_model::storage::{
    LabelsRequest, Names, Queryable, SelectedSeries, Series, SeriesRequest, StoreError,
};
use cairn_model::{AggrChunk, Chunk, ChunkData, Labels};
use cairn_promql::engine::ColumnsOnly;
use cairn_promql::{Engine, EngineOptions, QueryOptions, QueryValue};
use cairn_runtime::{Clock, CpuPool, SystemClock};

const INTERVAL_MS: i64 = 15_000;
const HOURS: i64 = 6;
const SAMPLES_A_CHUNK: usize = 120;
const TOTAL_SERIES: usize = 20_000;

/// Series by metric name, sorted by labels: a select costs what handing them over costs.
struct Store(Vec<Series>);

#[async_trait]
impl Queryable for Store {
    async fn select(&self, r: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        let mut out = Vec::new();
        for s in &self.0 {
            if r.matchers.iter().all(|m| m.matches_labels(s.labels.as_ref())) {
                let inside = |c: &&AggrChunk| c.max_ms() >= r.min_ms && c.min_ms() <= r.max_ms;
                out.push(Series {
                    labels: s.labels.clone(),
                    chunks: s.chunks.iter().filter(inside).cloned().collect(),
                });
            }
        }
        Ok(SelectedSeries { series: out, warnings: Vec::new() })
    }
    async fn label_names(&self, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }
    async fn label_values(&self, _: &str, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }
}

/// A counter with jitter that restarts now and then.
fn series(pairs: &[(&str, String)], seed: u64) -> Series {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let rate = 1.0 + (random() % 100) as f64;
    let mut value = (random() % 10_000) as f64;
    let n = (HOURS * 3_600_000 / INTERVAL_MS) as usize;
    let mut columns = Vec::new();
    let (mut t_ms, mut values) = (Vec::new(), Vec::new());
    for i in 0..=n {
        value = if random() % 2_000 == 0 { 0.0 } else { value + rate * (random() % 20) as f64 };
        t_ms.push(i as i64 * INTERVAL_MS + (random() % 5) as i64);
        values.push(value);
        if t_ms.len() == SAMPLES_A_CHUNK || i == n {
            columns.push((std::mem::take(&mut t_ms), std::mem::take(&mut values)));
        }
    }
    let chunk = |(t_ms, values): (Vec<i64>, Vec<f64>)| {
        AggrChunk::Raw(Chunk {
            min_ms: t_ms[0],
            max_ms: t_ms[t_ms.len() - 1],
            data: ChunkData::Columns(Arc::new(Columns {
                t_ms,
                values: ColumnValues::Floats(values),
                start_ms: Vec::new(),
            })),
        })
    };
    let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (*n, v.as_str()))).expect("distinct names");
    Series { labels, chunks: columns.into_iter().map(chunk).collect() }
}

fn store() -> Store {
    let mut all = Vec::new();
    let mut add = |name: &str, instance: usize, more: &[(&str, String)]| {
        let mut pairs = vec![
            ("__name__", name.to_owned()),
            ("cluster", "bench-cluster-1".to_owned()),
            ("datacenter", "eu-central-1a".to_owned()),
            ("environment", "production".to_owned()),
            ("instance", format!("node-{instance:03}.example.org:9100")),
            ("job", format!("job-{}", instance % 4)),
            ("team", "infrastructure".to_owned()),
        ];
        pairs.extend(more.iter().cloned());
        let seed = all.len() as u64 + 1;
        all.push(series(&pairs, seed));
    };
    for instance in 0..40 {
        for cpu in 0..16 {
            for mode in ["user", "system", "idle", "iowait", "irq", "nice", "softirq", "steal"] {
                let more = [("cpu", cpu.to_string()), ("mode", mode.to_owned())];
                add("node_cpu_seconds_total", instance, &more);
            }
        }
        for handler in 0..5 {
            for le in ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
            {
                let more = [("handler", format!("/api/{handler}")), ("le", le.to_owned())];
                add("http_request_duration_seconds_bucket", instance, &more);
            }
        }
        for device in 0..6 {
            let more = [("device", format!("eth{device}"))];
            add("node_network_receive_bytes_total", instance, &more);
            add("node_network_transmit_bytes_total", instance, &more);
        }
        let rest = TOTAL_SERIES / 40 - 128 - 60 - 12;
        for n in 0..rest {
            add("other_metric_total", instance, &[("shard", n.to_string())]);
        }
    }
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    Store(all)
}

/// CPU time of the process in milliseconds, to the kernel's tick of 10 ms.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or("");
    let field =
        |i: usize| after_name.split_whitespace().nth(i).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0);
    (field(11) + field(12)) * 10.0
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arg =
        |i: usize, default: usize| std::env::args().nth(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (repeats, threads) = (arg(1, 25), arg(2, 2));
    let clock = Arc::new(SystemClock::new());
    let store = store();
    let samples: usize = store.0.len() * (HOURS * 3_600_000 / INTERVAL_MS) as usize;
    println!(
        "{} series, {:.1} M samples, {threads} threads, {repeats} runs",
        store.0.len(),
        samples as f64 / 1e6
    );
    let engine =
        Engine::new(EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::threads(threads), clock.clone()));
    let end = HOURS * 3_600_000;
    let rate = "sum by (job) (rate(node_cpu_seconds_total[5m]))";
    let quantile =
        "histogram_quantile(0.99, sum by (le, job) (rate(http_request_duration_seconds_bucket[5m])))";
    let topk = r#"topk(5, sum by (instance) (rate(node_network_receive_bytes_total[5m])))"#;
    let ratio = "sum by (instance) (rate(node_network_receive_bytes_total[5m])) / sum by (instance) (rate(node_network_transmit_bytes_total[5m]))";
    let queries: [(&str, &str, i64, i64); 10] = [
        ("6h/60s sum by (job) rate, 5,120 series", rate, end - 6 * 3_600_000, 60_000),
        ("1h/15s sum by (job) rate, 5,120 series", rate, end - 3_600_000, 15_000),
        ("1h/15s histogram_quantile, 2,400 series", quantile, end - 3_600_000, 15_000),
        ("6h/60s topk by instance, 240 series", topk, 0, 60_000),
        ("6h/60s ratio join, 480 series", ratio, 0, 60_000),
        (
            "6h/60s avg_over_time[1h] by job, 240",
            "max by (job) (avg_over_time(node_network_receive_bytes_total[1h]))",
            0,
            60_000,
        ),
        ("instant sum by (job) rate, 5,120 series", rate, end, 0),
        ("instant histogram_quantile, 2,400 series", quantile, end, 0),
        ("instant count of 20,000 series", r#"count({job=~".+"})"#, end, 0),
        ("instant 12,000 series as they are", "other_metric_total", end, 0),
    ];
    println!("{:<42} {:>9} {:>9} {:>9} {:>8}", "query", "eval ms", "fetch ms", "cpu ms", "results");
    for (name, query, start, step) in queries {
        let mut eval = Vec::new();
        let mut fetch = Vec::new();
        let mut results = 0;
        let mut fetch_total = 0.0;
        let before = cpu_ms();
        for _ in 0..repeats {
            let options = QueryOptions::default();
            let result = if step == 0 {
                engine.instant(&store, query, end, &options).await
            } else {
                engine.range(&store, query, start, end, step, &options).await
            }
            .expect("the query is valid");
            eval.push(result.stats.evaluation.as_secs_f64() * 1e3);
            fetch.push(result.stats.fetch.as_secs_f64() * 1e3);
            fetch_total += result.stats.fetch.as_secs_f64() * 1e3;
            results = match result.value {
                QueryValue::Vector(v) => v.len(),
                QueryValue::Matrix(m) => m.len(),
                _ => 1,
            };
        }
        let cpu = (cpu_ms() - before - fetch_total).max(0.0) / repeats as f64;
        let median = |v: &mut Vec<f64>| {
            v.sort_by(f64::total_cmp);
            v[v.len() / 2]
        };
        println!("{name:<42} {:>9.2} {:>9.2} {cpu:>9.2} {results:>8}", median(&mut eval), median(&mut fetch));
    }
    let _ = clock.now_ms();
}
