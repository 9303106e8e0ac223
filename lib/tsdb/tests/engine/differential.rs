//! Random workloads into the database and into the naive model: equal answers, and equal reads at every seal,
//! restart and crash.
//!
//! Values of every kind, in order and not, repeated and in conflict, in windows that are open, closed or long a block;
//! start timestamps and exemplars ride along. What the engine is allowed to forget is said where it is checked.

use std::sync::Arc;

use cairn_model::batch::{BatchSeries, HistogramSample, RejectReason};
use cairn_model::exemplar::Exemplar;
use cairn_model::sample::Sample;
use cairn_model::storage::Appendable;
use cairn_model::tenant::TenantScope;
use cairn_model::{Labels, Value, WriteBatch};
use cairn_runtime::{MemDisk, Rng};
use cairn_tsdb::{Db, DbOptions};

use crate::model::{Expected, Model};
use crate::parts::assert_parts_of_the_whole;
use crate::support::*;
use crate::values::random_value;

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
    /// Series that starts loaded from snapshots.
    restored: u64,
    /// Windows that begin before this may have been closed.
    closed_before_ms: i64,
    /// Every exemplar that was ever offered, by time; each has a time of its own.
    exemplars: std::collections::BTreeMap<i64, Exemplar>,
}

/// Times are multiples of this, so that many samples meet one that is there.
const GRAIN_MS: i64 = 250;

/// Every other run has so small segments that they come and go all the time.
fn options_of(seed: u64) -> DbOptions {
    let wal_segment_bytes = if seed.is_multiple_of(2) { 1_500 } else { 256 << 20 };
    DbOptions { wal_segment_bytes, ..options() }
}

impl Run {
    async fn new(seed: u64) -> Run {
        let disk = MemDisk::new();
        let db = open_with(options_of(seed), &disk, seed).await;
        let rng = Rng::from_seed(seed);
        let (model, refs) = (Model::default(), Default::default());
        Run {
            disk,
            rng,
            db,
            model,
            now_ms: 1_000_000,
            opened: 1,
            seed,
            refs,
            restored: 0,
            closed_before_ms: 0,
            exemplars: Default::default(),
        }
    }

    /// Windows whose end is `close_after` ago are closed by whoever asks at this time.
    fn closing(&mut self) -> i64 {
        let close_after_ms = options().close_after.as_millis() as i64;
        self.closed_before_ms =
            self.closed_before_ms.max((self.now_ms - close_after_ms).div_euclid(WINDOW_MS) * WINDOW_MS);
        self.now_ms
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
                let t_ms = t_ms / GRAIN_MS * GRAIN_MS;
                let start_ms = [0, 0, 900_000, 950_000][rng.below(4) as usize];
                samples.push(Sample { t_ms, start_ms, value: random_value(&rng) });
            }
            push(&mut batch, &labels, &samples, self.refs.get(&(tenant, n)).filter(|_| by_reference));
            if rng.below(4) == 0 {
                self.push_exemplar(&mut batch);
            }
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
        let (mut expected_stored, mut expected_conflicts, mut with_a_block) = (0, 0, 0);
        for (index, labels, sample) in &offered {
            if unknown.contains(index) {
                continue;
            }
            let n: u32 = labels.get("n").expect("test labels").parse().expect("a number");
            self.refs.insert((tenant, n), appended.refs[*index]);
            match self.model.offer(TENANTS[tenant], labels, sample) {
                Expected::Stored => expected_stored += 1,
                // Blocks are not read at write: a value that conflicts with one in a block is taken, and readers
                // decide.
                Expected::Conflict if sample.t_ms < self.closed_before_ms => with_a_block += 1,
                Expected::Conflict => expected_conflicts += 1,
            }
        }
        let count = |reason: fn(&RejectReason) -> bool| {
            appended.rejections.iter().filter(|r| reason(&r.reason)).count() as u64
        };
        let conflicts = count(|r| *r == RejectReason::Conflict);
        let exemplars = count(|r| matches!(r, RejectReason::Exemplar(_)));
        assert_eq!(appended.rejections.len() as u64, conflicts + exemplars, "{:?}", appended.rejections);
        let allowed = expected_conflicts..=expected_conflicts + with_a_block;
        assert!(allowed.contains(&conflicts), "{conflicts} conflicts, not {allowed:?}, seed {}", self.seed);
        let stored = appended.floats + appended.histograms;
        assert_eq!(stored + conflicts, expected_stored + expected_conflicts + with_a_block);
        assert!(stored + conflicts <= floats_and_histograms);
    }

    /// Gives the newest series of `batch` an exemplar of its own.
    fn push_exemplar(&mut self, batch: &mut WriteBatch) {
        let t_ms = self.now_ms + 1 + self.exemplars.len() as i64;
        let trace = format!("trace-{}", self.exemplars.len());
        let labels = Labels::from_pairs([("trace_id", trace.as_str())]).expect("one label");
        let exemplar = Exemplar { labels, value: self.rng.below(3) as f64, t_ms };
        self.exemplars.insert(t_ms, exemplar.clone());
        batch.exemplars.push(exemplar);
        let end = batch.exemplars.len() as u32;
        batch.series.last_mut().expect("a series was pushed").exemplars = end - 1..end;
    }

    async fn check(&self, when: &str) {
        let when = format!("{when}, seed {}", self.seed);
        assert_parts_of_the_whole(&*self.db.head_store(), self.now_ms, &when).await;
        let contents = read_all(&self.db).await;
        assert_same(&contents, &self.model.contents, &when);
        // Blocks keep no start timestamps; the head does.
        for (series, samples) in &contents {
            for (t, sample) in samples.range(self.closed_before_ms..) {
                let wanted = self.model.contents[series][t].start_ms;
                assert_eq!(sample.start_ms, wanted, "start timestamp of {series} at {t} {when}");
            }
        }
        // The head may have let go of exemplars with their series, but it makes none up.
        let found =
            self.db.head_store().exemplars(&TenantScope::All, &[Vec::new()], i64::MIN, i64::MAX).await;
        for exemplar in found.expect("a head has exemplars").iter().flat_map(|(_, list)| list) {
            assert_eq!(self.exemplars.get(&exemplar.t_ms), Some(exemplar), "{when}");
        }
    }

    async fn reopen(&mut self) {
        self.opened += 1;
        self.db = open_with(options_of(self.seed), &self.disk, self.seed * 1000 + self.opened).await;
        self.restored += self.db.replay_report().restored;
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
                batch.floats.start_ms.push(s.start_ms);
            }
            value => batch.histograms.push(HistogramSample {
                t_ms: s.t_ms,
                start_ms: s.start_ms,
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
    let mut restored = 0;
    for seed in 0..60 {
        restored += run(async move {
            let mut r = Run::new(seed).await;
            for _ in 0..120 {
                match r.rng.below(24) {
                    0 => {
                        let now_ms = r.closing();
                        r.db.seal_locally(now_ms).await.expect("the disk is fine");
                        r.check("after a seal").await;
                    }
                    1 => {
                        // Closed and cut, not released: samples in both places.
                        let now_ms = r.closing();
                        let closed = r.db.closed_windows(now_ms).await.expect("the disk is fine");
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
                    6 | 7 => {
                        // Old by the time of the next restart, with windows closed, cut and released since.
                        assert!(
                            r.db.take_snapshot().await.expect("the disk is fine"),
                            "nothing is in its way"
                        );
                    }
                    5 => r.check("at some time").await,
                    _ => r.write().await,
                }
            }
            r.db.maintain().await;
            r.check("at the end").await;
            r.restored
        });
    }
    assert!(restored > 500, "starts loaded only {restored} series from snapshots");
}
