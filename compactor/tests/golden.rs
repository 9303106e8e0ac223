//! Compaction and downsampling against what Thanos made of the same blocks.
#![allow(clippy::disallowed_methods)] // unpacks archives with the standard library

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_bucket::marks::MarkKind;
use cairn_bucket::{Bucket, BucketSettings, BucketView, Fetcher};
use cairn_compactor::downsample::aggregates::counter_line;
use cairn_compactor::downsample::{FIVE_MINUTES_MS, ONE_HOUR_MS, downsample_block};
use cairn_compactor::{Compactor, CompactorConfig, PassReport};
use cairn_model::chunk::Aggregates;
use cairn_model::{AggrChunk, Chunk, ChunkData, Encoding};
use cairn_runtime::{MemDisk, RealDisk, Runtime};
use cairn_tests::conformance::conformance;
use cairn_tsdb::block::BlockReader;
use cairn_tsdb::chunkenc::decode_floats;
use object_store::local::LocalFileSystem;
use ulid::Ulid;

/// Samples by labels and time, as bits.
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

fn unpack(archive: &str) -> Option<tempfile::TempDir> {
    let file = std::fs::File::open(conformance("thanos-bucket")?.join(archive)).expect("the archive");
    let dir = tempfile::tempdir().unwrap();
    tar::Archive::new(zstd::Decoder::new(file).unwrap()).unpack(dir.path()).unwrap();
    Some(dir)
}

fn bucket(dir: &Path, runtime: &Runtime) -> Bucket {
    let store = LocalFileSystem::new_with_prefix(dir).unwrap().with_automatic_cleanup(true);
    Bucket::new(Arc::new(store), BucketSettings::named("golden"), runtime)
}

async fn look(dir: &Path) -> BucketView {
    Fetcher::new(bucket(dir, &Runtime::system(1))).look().await.unwrap()
}

fn block_dirs(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut dirs: Vec<PathBuf> = entries.filter(|p| p.join("meta.json").exists()).collect();
    dirs.sort();
    dirs
}

fn open(dir: &Path, ulid: Ulid) -> BlockReader {
    BlockReader::open(&RealDisk, &dir.join(ulid.to_string())).unwrap()
}

fn read_raw(block: &BlockReader, into: &mut Samples) {
    for series in block.select(&[], i64::MIN, i64::MAX).unwrap() {
        let series = series.unwrap();
        let samples = into.entry(series.labels.to_string()).or_default();
        for c in &series.chunks {
            let (mut t, mut v) = (Vec::new(), Vec::new());
            decode_floats(Encoding::from_byte(c.encoding).unwrap(), &c.data, &mut t, &mut v).unwrap();
            samples.extend(t.into_iter().zip(v.into_iter().map(f64::to_bits)));
        }
    }
}

fn aggregates(block: &BlockReader) -> BTreeMap<String, Vec<Aggregates>> {
    let mut all = BTreeMap::new();
    for series in block.select(&[], i64::MIN, i64::MAX).unwrap() {
        let series = series.unwrap();
        let chunks = series.chunks.iter().map(|c| match block.to_aggr(c).unwrap() {
            AggrChunk::Downsampled(a) => *a,
            AggrChunk::Raw(_) => panic!("raw chunk in a downsampled block"),
        });
        all.insert(series.labels.to_string(), chunks.collect());
    }
    all
}

fn floats(slot: &Option<Chunk>) -> Vec<(i64, f64)> {
    let Some(Chunk { data: ChunkData::Encoded(encoding, data), .. }) = slot else { return Vec::new() };
    let (mut t, mut v) = (Vec::new(), Vec::new());
    decode_floats(*encoding, data, &mut t, &mut v).unwrap();
    t.into_iter().zip(v).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// (count, sum, min, max) by window; parts of a window that two chunks share are joined.
fn by_window(chunks: &[Aggregates], resolution_ms: i64) -> BTreeMap<i64, [f64; 4]> {
    let mut windows: BTreeMap<i64, [f64; 4]> = BTreeMap::new();
    for a in chunks {
        let columns = [&a.count, &a.sum, &a.min, &a.max].map(floats);
        for (i, (t, count)) in columns[0].iter().enumerate() {
            let w = windows.entry(t.div_euclid(resolution_ms)).or_insert([
                0.0,
                0.0,
                f64::INFINITY,
                f64::NEG_INFINITY,
            ]);
            *w = [w[0] + count, w[1] + columns[1][i].1, w[2].min(columns[2][i].1), w[3].max(columns[3][i].1)];
        }
    }
    windows
}

/// How far the counter had risen at each time of the line.
fn risen(chunks: &[Aggregates]) -> BTreeMap<i64, f64> {
    let (line, _) = counter_line(chunks).unwrap();
    let base = line.values.first().copied().unwrap_or(0.0);
    line.t_ms.into_iter().zip(line.values).map(|(t, v)| (t, v - base)).collect()
}

#[derive(Default, Debug)]
struct Compared {
    series: usize,
    windows: usize,
    counter_points: usize,
}

/// Compares what `ours` has inside the range of `theirs` with all of `theirs`.
fn compare(ours: &BlockReader, theirs: &BlockReader, compared: &mut Compared) {
    let (resolution_ms, from, to) =
        (theirs.meta().resolution_ms(), theirs.meta().min_time, theirs.meta().max_time);
    let (ours, theirs) = (aggregates(ours), aggregates(theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (labels, theirs) in &theirs {
        let ours = &ours[labels];
        let (mut a, b) = (by_window(ours, resolution_ms), by_window(theirs, resolution_ms));
        a.retain(|w, _| (from.div_euclid(resolution_ms)..=(to - 1).div_euclid(resolution_ms)).contains(w));
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>(), "{labels}: windows");
        for (window, want) in &b {
            let got = a[window];
            assert!(
                got.iter().zip(want).all(|(x, y)| close(*x, *y)),
                "{labels} {window}: {got:?}, want {want:?}"
            );
        }
        // What `increase` gives between any two of the common times, which nearly all are: only where chunks of one
        // side begin are there others.
        let (a, b) = (risen(ours), risen(theirs));
        let common: Vec<i64> = b.keys().copied().filter(|t| a.contains_key(t)).collect();
        assert!(
            common.len() * 100 >= b.len() * 97,
            "{labels}: counters share {} of {}",
            common.len(),
            b.len()
        );
        let start = common[0];
        for t in &common {
            let (got, want) = (a[t] - a[&start], b[t] - b[&start]);
            assert!(close(got, want), "{labels} at {t}: risen by {got}, want {want}");
        }
        compared.series += 1;
        compared.windows += b.len();
        compared.counter_points += common.len();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_blocks_compacted_and_downsampled_hold_what_thanos_made_of_them() {
    let (Some(raw), Some(done)) =
        (unpack("raw-2h-blocks.tar.zst"), unpack("compacted-and-downsampled.tar.zst"))
    else {
        return;
    };
    let mut before = Samples::new();
    for dir in block_dirs(raw.path()) {
        read_raw(&BlockReader::open(&RealDisk, &dir).unwrap(), &mut before);
    }
    // Work in memory: the disk's fsyncs are not what is compared here.
    let runtime = Runtime { disk: Arc::new(MemDisk::new()), ..Runtime::system(2) };
    let config = CompactorConfig::new("compact".into());
    let compactor = Compactor::new(bucket(raw.path(), &runtime), runtime.clone(), config).unwrap();
    let shutdown = runtime.tasks.shutdown();
    let report = compactor.pass(shutdown).await;
    println!("{report:?}");
    assert!(report.failures == 0 && report.quarantined == 0 && report.compactions > 100, "{report:?}");
    assert_eq!(compactor.pass(shutdown).await, PassReport::default(), "a second pass finds nothing to do");

    // The same samples, in blocks of the highest levels.
    let view = look(raw.path()).await;
    let live: BTreeSet<Ulid> = view
        .blocks
        .iter()
        .filter(|(_, b)| !b.marks.contains(&MarkKind::Deletion))
        .map(|(ulid, _)| *ulid)
        .collect();
    let (mut after, mut levels) = (Samples::new(), BTreeMap::new());
    for ulid in &live {
        let block = open(raw.path(), *ulid);
        *levels.entry((block.meta().resolution_ms(), block.meta().compaction.level)).or_insert(0) += 1;
        if block.meta().resolution_ms() == 0 {
            read_raw(&block, &mut after);
        }
    }
    let samples: usize = after.values().map(BTreeMap::len).sum();
    println!(
        "compared {} series, {samples} samples; live blocks by (resolution, level): {levels:?}",
        after.len()
    );
    assert!(samples > 400_000 && after.len() == 11);
    assert!(before == after, "the samples are the same");
    assert!(!levels.contains_key(&(0, 1)) && levels.contains_key(&(0, 4)), "{levels:?}");

    // Thanos' 5 m blocks lie in windows that ours cover; compare series by series inside each of its blocks.
    let mut compared = Compared::default();
    for dir in block_dirs(done.path()) {
        let theirs = BlockReader::open(&RealDisk, &dir).unwrap();
        let meta = theirs.meta();
        if meta.resolution_ms() != FIVE_MINUTES_MS {
            continue;
        }
        let covers = |u: &&Ulid| {
            let m = &view.blocks[*u].meta;
            m.resolution_ms() == FIVE_MINUTES_MS && m.min_time <= meta.min_time && meta.max_time <= m.max_time
        };
        let ours = live.iter().find(covers).expect("a block of ours that covers theirs");
        compare(&open(raw.path(), *ours), &theirs, &mut compared);
    }
    println!("5 m of our compaction beside Thanos': compared {compared:?}");
    assert!(compared.series >= 22 && compared.windows > 60_000 && compared.counter_points > 60_000);
}

#[test]
fn downsampling_thanos_own_blocks_gives_thanos_own_aggregates() {
    let Some(done) = unpack("compacted-and-downsampled.tar.zst") else { return };
    let out = tempfile::tempdir().unwrap();
    let blocks: Vec<BlockReader> =
        block_dirs(done.path()).iter().map(|d| BlockReader::open(&RealDisk, d).unwrap()).collect();
    for (from_ms, to_ms) in [(0, FIVE_MINUTES_MS), (FIVE_MINUTES_MS, ONE_HOUR_MS)] {
        let mut compared = Compared::default();
        for theirs in blocks.iter().filter(|b| b.meta().resolution_ms() == to_ms) {
            let same = |b: &&BlockReader| {
                b.meta().resolution_ms() == from_ms
                    && b.meta().compaction.sources == theirs.meta().compaction.sources
            };
            let Some(input) = blocks.iter().find(same) else { continue };
            let ulid = Ulid::from_parts(7, compared.series as u128 + to_ms as u128);
            let meta =
                downsample_block(&RealDisk, input, to_ms, out.path(), ulid, &|| false).unwrap().unwrap();
            assert_eq!(meta.compaction, theirs.meta().compaction);
            assert_eq!(meta.stats.num_series, theirs.meta().stats.num_series);
            let ours = open(out.path(), ulid);
            assert!(cairn_tsdb::block::verify(&ours).is_sound());
            compare(&ours, theirs, &mut compared);
        }
        println!("{from_ms} ms to {to_ms} ms: compared {compared:?}");
        assert!(compared.series > 0 && compared.windows > 1_000 && compared.counter_points > 1_000);
    }
}
