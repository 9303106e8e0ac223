//! A database over a disk in memory, and how to ask it for everything it has.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cairn_model::chunk::ColumnValues;
use cairn_model::sample::Sample;
use cairn_model::storage::{SeriesRequest, StoreApi};
use cairn_model::{AggrChunk, ChunkData, Labels, TenantId, Value, WriteBatch};
use cairn_runtime::{MemDisk, Runtime, TcpNet};
use cairn_tsdb::chunkenc::ChunkDecoder;
use cairn_tsdb::head::order;
use cairn_tsdb::{Db, DbOptions};
use futures::TryStreamExt;

/// Windows of the tests.
pub const WINDOW_MS: i64 = 10_000;

/// Everything that a reader sees: the greatest value by series and time.
pub type Contents = BTreeMap<String, BTreeMap<i64, Sample>>;

/// Runs `work` on a runtime of its own whose time stands still unless it is waited for.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime for a test")
        .block_on(work)
}

/// Options of the tests: small windows, several partitions.
pub fn options() -> DbOptions {
    DbOptions {
        block_duration: Duration::from_millis(WINDOW_MS as u64),
        close_after: Duration::from_millis(3_000),
        late_every: Duration::from_millis(0),
        partitions: 3,
        ..DbOptions::new("/data")
    }
}

/// A runtime over `disk`; each start of a database gets its own, as each process does.
pub fn machine(disk: &MemDisk, seed: u64) -> Runtime {
    Runtime::simulated(seed, 1_000_000, Arc::new(TcpNet), Arc::new(disk.clone()))
}

/// Opens the database on `disk`.
pub async fn open(disk: &MemDisk, seed: u64) -> Arc<Db> {
    open_with(options(), disk, seed).await
}

/// Opens the database on `disk` with `options`.
pub async fn open_with(options: DbOptions, disk: &MemDisk, seed: u64) -> Arc<Db> {
    Db::open(options, machine(disk, seed)).await.expect("the database opens")
}

/// Labels of test series `n`.
pub fn labels(n: u32) -> Labels {
    let (name, job, n) = (format!("metric_{}", n % 3), format!("job_{}", n % 5), n.to_string());
    Labels::from_pairs([("__name__", name.as_str()), ("job", job.as_str()), ("n", n.as_str())])
        .expect("names are unique")
}

/// A batch of one tenant.
pub fn batch_of(tenant: &str) -> WriteBatch {
    WriteBatch::new(TenantId::new(tenant).expect("a valid tenant"))
}

/// Reads head and blocks and merges them as a reader does: the greater value wins.
pub async fn read_all(db: &Db) -> Contents {
    let mut contents = Contents::new();
    let blocks: Arc<dyn StoreApi> = Arc::new(db.blocks());
    for store in [db.head_store(), blocks] {
        read_store(&*store, SeriesRequest::new(i64::MIN, i64::MAX, Vec::new()), &mut contents).await;
    }
    contents
}

/// Adds what `store` answers to `contents`, and checks that its answer is sorted.
pub async fn read_store(store: &dyn StoreApi, request: SeriesRequest, contents: &mut Contents) {
    let batches: Vec<_> =
        store.series(request).await.expect("readable").try_collect().await.expect("readable");
    let mut previous: Option<Labels> = None;
    for series in batches.into_iter().flatten() {
        if let Some(previous) = &previous {
            assert!(*previous <= series.labels, "{previous} before {}", series.labels);
        }
        previous = Some(series.labels.clone());
        let samples = contents.entry(series.labels.to_string()).or_default();
        let mut last_min = i64::MIN;
        for chunk in &series.chunks {
            let AggrChunk::Raw(chunk) = chunk else { panic!("heads and their blocks are raw") };
            assert!(chunk.min_ms >= last_min, "chunks in order of time");
            last_min = chunk.min_ms;
            let decoded = decode(&chunk.data);
            assert_eq!(decoded.first().map(|s| s.t_ms), Some(chunk.min_ms));
            assert_eq!(decoded.last().map(|s| s.t_ms), Some(chunk.max_ms));
            for s in decoded {
                let greater =
                    samples.get(&s.t_ms).is_none_or(|there| order::compare(&s.value, &there.value).is_gt());
                if greater {
                    samples.insert(s.t_ms, s);
                }
            }
        }
    }
}

/// The samples of a chunk.
pub fn decode(data: &ChunkData) -> Vec<Sample> {
    match data {
        ChunkData::Encoded(encoding, bytes) => {
            ChunkDecoder::new(*encoding, bytes).collect::<Result<_, _>>().expect("a sound chunk")
        }
        ChunkData::Columns(c) => {
            let value = |i: usize| match &c.values {
                ColumnValues::Floats(v) => Value::Float(v[i]),
                ColumnValues::Mixed(v) => v[i].clone(),
            };
            let start = |i: usize| c.start_ms.get(i).copied().unwrap_or(0);
            let sample = |(i, t): (usize, &i64)| Sample { t_ms: *t, start_ms: start(i), value: value(i) };
            c.t_ms.iter().enumerate().map(sample).collect()
        }
    }
}

/// Fails when the two differ as a reader sees them.
pub fn assert_same(got: &Contents, want: &Contents, when: &str) {
    let non_empty = |c: &Contents| c.iter().filter(|(_, s)| !s.is_empty()).map(|(l, _)| l.clone()).collect();
    let (got_series, want_series): (Vec<_>, Vec<_>) = (non_empty(got), non_empty(want));
    assert_eq!(got_series, want_series, "series {when}");
    for series in want_series {
        let (got, want) = (&got[&series], &want[&series]);
        let times = |s: &BTreeMap<i64, Sample>| s.keys().copied().collect::<Vec<_>>();
        assert_eq!(times(got), times(want), "times of {series} {when}");
        for (t, sample) in want {
            let there = &got[t].value;
            assert!(
                order::same(there, &sample.value),
                "{series} at {t} {when}: {there:?} instead of {:?}",
                sample.value
            );
        }
    }
}
