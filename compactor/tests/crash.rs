//! The compactor killed at every call to the bucket, over damaged blocks, and beside another worker.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cairn_bucket::fault::{FaultRates, FaultStore};
use cairn_bucket::marks::MarkKind;
use cairn_bucket::{Bucket, BucketSettings, BucketView, Fetcher, layout};
use cairn_compactor::{Compactor, CompactorConfig};
use cairn_model::{Labels, Value};
use cairn_runtime::{Disk, MemDisk, Runtime, TcpNet};
use cairn_tsdb::block::{BlockChunk, BlockOptions, BlockReader, BlockWriter};
use cairn_tsdb::chunkenc::{ChunkBuilder, ChunkDecoder, CutRule};
use cairn_tsdb::index::SymbolSet;
use cairn_tsdb::meta::{BlockMeta, ThanosMeta};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use ulid::Ulid;

const HOUR_MS: i64 = 3_600_000;
/// All windows of the test are settled by then, and everything in memory is younger than any clean-up age.
const NOW_MS: i64 = 1_000 * HOUR_MS;

/// Samples by labels and time.
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

fn runtime(seed: u64) -> Runtime {
    Runtime::simulated(seed, NOW_MS, Arc::new(TcpNet), Arc::new(MemDisk::new()))
}

fn bucket(store: &Arc<dyn ObjectStore>, runtime: &Runtime) -> Bucket {
    Bucket::new(store.clone(), BucketSettings::named("test"), runtime)
}

/// Puts a block of 3 series into the store: samples each 30 s over 2 h from `from_h`, of value `value`.
async fn put_block(store: &dyn ObjectStore, n: u128, from_h: i64, value: f64) -> Ulid {
    let disk = MemDisk::new();
    let ulid = Ulid::from_parts(1, n);
    let mut meta = BlockMeta::new(ulid, from_h * HOUR_MS, (from_h + 2) * HOUR_MS);
    let external = Labels::from_pairs([("tenant_id", "acme")]).unwrap();
    meta.thanos = Some(ThanosMeta::raw(&external, "receive"));
    let all: Vec<Labels> = (0..3)
        .map(|i| Labels::from_pairs([("__name__", "m".to_owned()), ("i", format!("{i}"))]).unwrap())
        .collect();
    let mut symbols = SymbolSet::new();
    all.iter().for_each(|l| symbols.add_labels(l.as_ref()));
    let options = BlockOptions { tombstones: false, ..BlockOptions::default() };
    let mut w = BlockWriter::create(&disk, Path::new("b"), meta, symbols, options).unwrap();
    for l in &all {
        let mut b = ChunkBuilder::new(CutRule::default());
        for t in (from_h * HOUR_MS..(from_h + 2) * HOUR_MS).step_by(30_000) {
            b.push(t, 0, &Value::Float(value));
        }
        let chunks: Vec<BlockChunk> =
            b.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, CutRule::default())).collect();
        w.add_series(l.as_ref(), &chunks).unwrap();
    }
    w.finish().unwrap();
    for name in ["chunks/000001", "index", "meta.json"] {
        let content = disk.read(&Path::new("b").join(ulid.to_string()).join(name)).unwrap();
        store.put(&layout::in_block(ulid, name), content.into()).await.unwrap();
    }
    ulid
}

async fn look(store: &Arc<dyn ObjectStore>) -> BucketView {
    Fetcher::new(bucket(store, &runtime(0))).look().await.unwrap()
}

/// What a reader sees: all samples of all readable blocks that are not marked for deletion.
async fn samples(store: &Arc<dyn ObjectStore>) -> Samples {
    let (view, disk, mut all) = (look(store).await, MemDisk::new(), Samples::new());
    for (ulid, block) in &view.blocks {
        if block.marks.contains(&MarkKind::Deletion) || block.meta.resolution_ms() > 0 {
            continue;
        }
        let dir = Path::new("r").join(ulid.to_string());
        disk.create_dir_all(&dir.join("chunks")).unwrap();
        for name in block.files.keys() {
            let content: Bytes =
                store.get(&layout::in_block(*ulid, name)).await.unwrap().bytes().await.unwrap();
            disk.write_atomic(&dir.join(name), &content).unwrap();
        }
        let reader = BlockReader::open(&disk, &dir).expect("a readable block opens");
        for series in reader.select(&[], i64::MIN, i64::MAX).unwrap() {
            let series = series.expect("and all of it can be read");
            let into = all.entry(series.labels.to_string()).or_default();
            for c in &series.chunks {
                for s in ChunkDecoder::new(cairn_model::Encoding::from_byte(c.encoding).unwrap(), &c.data) {
                    let s = s.unwrap();
                    let Value::Float(v) = s.value else { panic!("floats only") };
                    let kept = into.entry(s.t_ms).or_insert(v.to_bits());
                    *kept = (*kept).max(v.to_bits());
                }
            }
        }
    }
    all
}

/// Four side by side and one that overlaps two of them with greater values.
async fn five_blocks() -> Arc<dyn ObjectStore> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for (n, from_h) in [(1, 0), (2, 2), (3, 4), (4, 6), (5, 3)] {
        put_block(store.as_ref(), n, from_h, 1.0 + (n / 5) as f64).await;
    }
    store
}

async fn copy(store: &Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
    let to: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let all: Vec<_> = store.list(None).try_collect().await.unwrap();
    for m in all {
        let content = store.get(&m.location).await.unwrap().bytes().await.unwrap();
        to.put(&m.location, content.into()).await.unwrap();
    }
    to
}

async fn pass(store: Arc<dyn ObjectStore>, seed: u64) -> cairn_compactor::PassReport {
    let runtime = runtime(seed);
    let config = CompactorConfig::new("work".into());
    let compactor = Compactor::new(bucket(&store, &runtime), runtime.clone(), config).unwrap();
    compactor.pass(runtime.tasks.shutdown()).await
}

fn live(view: &BucketView) -> Vec<&BlockMeta> {
    let unmarked = view.blocks.values().filter(|b| !b.marks.contains(&MarkKind::Deletion));
    unmarked.map(|b| b.meta.as_ref()).collect()
}

#[tokio::test]
async fn killed_at_any_call_readers_see_the_same_samples_and_the_next_pass_finishes() {
    let start = five_blocks().await;
    let before = samples(&start).await;
    let counting = FaultStore::new(copy(&start).await, FaultRates::NONE, 0);
    let report = pass(Arc::new(counting.clone()), 1).await;
    assert_eq!((report.compactions, report.marked, report.failures), (1, 5, 0));
    let calls = counting.calls();
    assert!(calls > 40, "only {calls} calls");
    for k in 0..calls {
        let store = copy(&start).await;
        let dying = FaultStore::new(store.clone(), FaultRates::NONE, k);
        dying.die_after(Some(k));
        pass(Arc::new(dying), k).await;
        assert!(samples(&store).await == before, "killed at call {k}");
        let report = pass(store.clone(), 1_000 + k).await;
        assert_eq!(report.failures, 0, "after call {k}");
        assert!(samples(&store).await == before, "finished after call {k}");
        let view = look(&store).await;
        assert_eq!(live(&view).len(), 1, "one block after call {k}");
        assert_eq!(
            pass(store.clone(), 2_000 + k).await,
            Default::default(),
            "nothing is left after call {k}"
        );
    }
    println!(
        "compared {} series, {} samples at each of {calls} calls",
        before.len(),
        before["m{i=\"0\"}"].len()
    );
}

#[tokio::test]
async fn over_a_rough_store_the_samples_stay_and_it_comes_to_an_end() {
    let start = five_blocks().await;
    let before = samples(&start).await;
    let mut injected = 0;
    for seed in 0..40 {
        let store = copy(&start).await;
        let faulty = FaultStore::new(store.clone(), FaultRates::ROUGH, seed);
        // Two workers at once, and a second try.
        tokio::join!(pass(Arc::new(faulty.clone()), seed), pass(Arc::new(faulty.clone()), seed + 500));
        pass(Arc::new(faulty.clone()), seed + 1_000).await;
        assert!(samples(&store).await == before, "seed {seed}");
        injected += faulty.injected();
        for healing in 0..3 {
            pass(store.clone(), seed + 2_000 + healing).await;
        }
        assert!(samples(&store).await == before, "healed, seed {seed}");
        assert_eq!(live(&look(&store).await).len(), 1, "seed {seed}");
    }
    assert!(injected > 200, "{injected} faults");
}

#[tokio::test]
async fn damaged_blocks_are_set_aside_and_the_others_go_on() {
    for (file, content) in [
        ("index", Some("rotten")),
        ("index", None),
        ("chunks/000001", Some("rotten")),
        ("chunks/000001", None),
    ] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for (n, from_h) in [(1, 0), (2, 2), (3, 4), (4, 8), (5, 10)] {
            put_block(store.as_ref(), n, from_h, 1.0).await;
        }
        let bad = Ulid::from_parts(1, 2);
        let path = layout::in_block(bad, file);
        match content {
            Some(c) => drop(store.put(&path, c.into()).await.unwrap()),
            None => store.delete(&path).await.unwrap(),
        }
        let report = pass(store.clone(), 1).await;
        assert_eq!(
            (report.quarantined, report.compactions, report.failures),
            (1, 3, 0),
            "{file} {content:?}"
        );
        let view = look(&store).await;
        assert!(view.folders[&bad].marks.contains(&MarkKind::NoCompact));
        assert_eq!(live(&view).len(), 2, "the bad one, and all others as one");
        assert_eq!(pass(store.clone(), 2).await, Default::default());
    }
}

#[tokio::test]
async fn a_damaged_block_that_is_due_for_downsampling_is_set_aside() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (good, bad) =
        (put_block(store.as_ref(), 1, 0, 1.0).await, put_block(store.as_ref(), 2, 48, 1.0).await);
    store.put(&layout::in_block(bad, "chunks/000001"), "rotten".into()).await.unwrap();
    let runtime = runtime(1);
    let mut config = CompactorConfig::new("work".into());
    config.from_raw = std::time::Duration::from_secs(3600);
    config.plan.ranges_ms = vec![2 * HOUR_MS];
    let compactor = Compactor::new(bucket(&store, &runtime), runtime.clone(), config).unwrap();
    let report = compactor.pass(runtime.tasks.shutdown()).await;
    assert_eq!((report.downsamplings, report.quarantined, report.failures), (1, 1, 0));
    let view = look(&store).await;
    assert!(view.folders[&bad].marks.contains(&MarkKind::NoDownsample));
    let made: Vec<&BlockMeta> = live(&view).into_iter().filter(|m| m.resolution_ms() == 300_000).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].compaction.sources, [good]);
    assert_eq!(compactor.pass(runtime.tasks.shutdown()).await, Default::default());
}

#[tokio::test]
async fn a_block_whose_meta_cannot_be_read_is_left_alone() {
    let store = five_blocks().await;
    let broken = Ulid::from_parts(1, 77);
    store.put(&layout::meta(broken), "{".into()).await.unwrap();
    let report = pass(store.clone(), 1).await;
    assert_eq!((report.compactions, report.failures), (1, 0));
    let view = look(&store).await;
    assert_eq!(view.broken.keys().collect::<BTreeSet<_>>(), BTreeSet::from([&broken]));
}

#[tokio::test]
async fn shutdown_stops_between_series_and_leaves_the_bucket_as_it_was() {
    let store = five_blocks().await;
    let runtime = runtime(1);
    runtime.tasks.shutdown().begin();
    let config = CompactorConfig::new("work".into());
    let compactor = Compactor::new(bucket(&store, &runtime), runtime.clone(), config).unwrap();
    let report = compactor.pass(runtime.tasks.shutdown()).await;
    assert_eq!(report, Default::default());
    assert_eq!(live(&look(&store).await).len(), 5);
}

#[tokio::test]
async fn settings_that_lose_data_are_refused_at_start() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let runtime = runtime(1);
    let mut config = CompactorConfig::new("work".into());
    config.retention.raw = std::time::Duration::from_secs(3600);
    let refused = Compactor::new(bucket(&store, &runtime), runtime.clone(), config).err().expect("refused");
    assert!(refused.to_string().contains("--retention.resolution-raw"), "{refused}");
}
