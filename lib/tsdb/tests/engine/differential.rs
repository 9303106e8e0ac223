//! Random workloads into the database and into the naive model: equal answers, and equal reads at every seal,
//! restart and crash.

use std::sync::Arc;

use cairn_model::batch::{BatchSeries, HistogramSample, RejectReason};
use cairn_model::sample::{Sample, stale_nan};
use cairn_model::storage::Appendable;
use cairn_model::{FloatHistogram, Histogram, Labels, Span, Value, WriteBatch};
use cairn_runtime::{MemDisk, Rng};
use cairn_tsdb::{Db, DbOptions};

use crate::model::{Expected, Model};
use crate::support::*;

const TENANTS: [&str; 2] = ["acme", "umbrella"];

/// One run: the database, the model, and where time is.
struct Run {
    disk: MemDisk,
    rng: Rng,
    db: Arc<Db>,
    model: Model,
    now_ms: i64,
    opened: u64,
    seed: u64,
    refs: std::collections::BTreeMap<(usize, u32), u64>,
}

/// Every other run has so small segments that they come and go all the time.
fn options_of(seed: u64) -> DbOptions {
    let wal_segment_bytes = if seed % 2 == 0 { 1_500 } else { 256 << 20 };
    DbOptions { wal_segment_bytes, ..options() }
}

fn random_value(rng: &Rng) -> Value {
    match rng.below(12) {
        0 => Value::Float(stale_nan()),
        1 | 2 => {
            let (a, b) = (rng.below(4), rng.below(4));
            Value::Histogram(Arc::new(Histogram {
                schema: rng.below(2) as i32,
                zero_threshold: 0.001,
                zero_count: a,
                count: a + b + b,
                sum: rng.below(5) as f64,
                positive_spans: vec![Span { offset: rng.below(3) as i32, length: 2 }],
                positive_buckets: vec![b as i64, 0],
                ..Default::default()
            }))
        }
        3 => {
            let buckets = vec![rng.below(4) as f64 / 2.0, 1.5];
            Value::FloatHistogram(Arc::new(FloatHistogram {
                schema: -53,
                count: buckets.iter().sum(),
                sum: 0.5,
                positive_spans: vec![Span { offset: 0, length: 2 }],
                positive_buckets: buckets,
                custom_values: vec![0.1, 1.0],
                ..Default::default()
            }))
        }
        4 => Value::Float(f64::from_bits(rng.next_u64())),
        _ => Value::Float(rng.below(4) as f64),
    }
}

impl Run {
    async fn new(seed: u64) -> Run {
        let disk = MemDisk::new();
        let db = open_with(options_of(seed), &disk, seed).await;
        let rng = Rng::from_seed(seed);
        let (model, refs) = (Model::default(), Default::default());
        Run { disk, rng, db, model, now_ms: 1_000_000, opened: 1, seed, refs }
    }

    /// A batch of mostly newer samples, some repeats, conflicts, late and old ones.
    async fn write(&mut self) {
        let rng = self.rng.clone();
        let tenant = rng.below(TENANTS.len() as u64) as usize;
        let mut batch = batch_of(TENANTS[tenant]);
        let mut offered: Vec<(usize, Labels, Sample)> = Vec::new();
        let by_reference = rng.below(2) == 0;
        for _ in 0..1 + rng.below(12) {
            let n = rng.below(9) as u32;
            let labels = labels(n);
            let mut samples = Vec::new();
            for _ in 0..rng.below(4) {
                let t_ms = match rng.below(10) {
                    0 => self.now_ms - rng.below(60_000) as i64,
                    1 => self.now_ms - rng.below(5) as i64,
                    _ => self.now_ms + rng.below(500) as i64,
                };
                samples.push(Sample { t_ms, start_ms: 0, value: random_value(&rng) });
            }
            push(&mut batch, &labels, &samples, self.refs.get(&(tenant, n)).filter(|_| by_reference));
            let index = batch.series.len() - 1;
            let of_kind = |h: bool| samples.iter().filter(move |s| s.value.is_histogram() == h);
            // The engine takes a series' floats first, then its histograms.
            offered.extend(of_kind(false).chain(of_kind(true)).map(|s| (index, labels.clone(), s.clone())));
        }
        self.now_ms += rng.below(1_500) as i64;
        let floats_and_histograms = offered.len() as u64;
        let names: Vec<Labels> = batch
            .series
            .iter()
            .map(|s| batch.labels_of(s).map(|l| l.to_labels()).unwrap_or_default())
            .collect();
        let hashes: Vec<u64> = batch.series.iter().map(|s| s.hash).collect();
        let appended = self.db.append(batch).await.expect("the disk is fine");
        let unknown: Vec<usize> = appended.unknown.iter().map(|i| *i as usize).collect();
        assert!(unknown.iter().all(|i| names[*i].is_empty()), "a series with labels is never unknown");
        assert_eq!(hashes.len(), appended.refs.len());
        // Partitions see their series in order, and no series is in two; so series by series is the model's order.
        let (mut stored, mut expected_conflicts) = (0, 0);
        for (index, labels, sample) in &offered {
            if unknown.contains(index) {
                continue;
            }
            let n: u32 = labels.get("n").expect("test labels").parse().expect("a number");
            self.refs.insert((tenant, n), appended.refs[*index]);
            match self.model.offer(TENANTS[tenant], labels, sample) {
                Expected::Stored => stored += 1,
                Expected::Conflict => expected_conflicts += 1,
            }
        }
        let conflicts =
            appended.rejections.iter().filter(|r| r.reason == RejectReason::Conflict).count() as u64;
        assert_eq!(appended.rejections.len() as u64, conflicts, "{:?}", appended.rejections);
        assert_eq!(conflicts, expected_conflicts);
        assert_eq!(appended.floats + appended.histograms, stored);
        assert!(stored + conflicts <= floats_and_histograms);
    }

    async fn check(&self, when: &str) {
        assert_same(&read_all(&self.db).await, &self.model.contents, &format!("{when}, seed {}", self.seed));
    }

    async fn reopen(&mut self) {
        self.opened += 1;
        self.db = open_with(options_of(self.seed), &self.disk, self.seed * 1000 + self.opened).await;
    }
}

fn push(batch: &mut WriteBatch, labels: &Labels, samples: &[Sample], known: Option<&u64>) {
    let floats = batch.floats.t_ms.len() as u32;
    let histograms = batch.histograms.len() as u32;
    for s in samples {
        match &s.value {
            Value::Float(v) => {
                batch.floats.t_ms.push(s.t_ms);
                batch.floats.value.push(*v);
            }
            value => batch.histograms.push(HistogramSample {
                t_ms: s.t_ms,
                start_ms: 0,
                value: value.clone(),
                refused: false,
            }),
        }
    }
    let start = batch.arena.len() as u32;
    if known.is_none() {
        batch.arena.extend_from_slice(labels.as_bytes());
    }
    batch.series.push(BatchSeries {
        known_ref: known.copied().unwrap_or(0),
        hash: labels.hash_with_prefix(batch.tenant.as_str()),
        labels: start..batch.arena.len() as u32,
        floats: floats..batch.floats.t_ms.len() as u32,
        histograms: histograms..batch.histograms.len() as u32,
        ..BatchSeries::default()
    });
}

#[test]
fn random_workloads_read_as_the_model_says_at_every_seal_restart_and_crash() {
    for seed in 0..60 {
        run(async move {
            let mut r = Run::new(seed).await;
            for _ in 0..120 {
                match r.rng.below(24) {
                    0 => {
                        r.db.seal_locally(r.now_ms).await.expect("the disk is fine");
                        r.check("after a seal").await;
                    }
                    1 => {
                        // Closed and cut, not released: samples in both places.
                        let closed = r.db.closed_windows(r.now_ms).await.expect("the disk is fine");
                        if let Some(id) = closed.first() {
                            r.db.cut(id).await.expect("the disk is fine");
                        }
                        r.check("after a cut").await;
                    }
                    2 => {
                        r.db.shutdown();
                        r.reopen().await;
                        r.check("after a restart").await;
                    }
                    3 => {
                        let (disk, rng) = (r.disk.clone(), r.rng.clone());
                        disk.crash(&rng);
                        r.reopen().await;
                        r.check("after a crash").await;
                    }
                    4 => r.db.maintain().await,
                    5 => r.check("at some time").await,
                    _ => r.write().await,
                }
            }
            r.db.maintain().await;
            r.check("at the end").await;
        });
    }
}
