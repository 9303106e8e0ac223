//! The store over a bucket that Thanos wrote, beside what the blocks hold and what Thanos answers.
#![allow(clippy::disallowed_methods)] // unpacks archives with the standard library

mod queries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use cairn_bucket::{Bucket, BucketSettings};
use cairn_model::matcher::MatchOp;
use cairn_model::storage::{LabelsRequest, Series, SeriesRequest, StoreApi, StoreError};
use cairn_model::tenant::TenantScope;
use cairn_model::{
    AggrChunk, Chunk, ChunkData, Encoding, Labels, LabelsBuilder, Matcher, ReadBounds, TenantId,
};
use cairn_runtime::{RealDisk, Runtime};
use cairn_store::{BucketStore, StoreConfig, collect};
use cairn_tests::conformance::conformance;
use cairn_tsdb::block::BlockReader;
use cairn_tsdb::chunkenc::decode_floats;
use futures::StreamExt;
use object_store::local::LocalFileSystem;

/// Samples by labels and time, as bits.
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

const RAW: &str = "raw-2h-blocks.tar.zst";
const DONE: &str = "compacted-and-downsampled.tar.zst";

fn unpack(archive: &str) -> Option<tempfile::TempDir> {
    let file = std::fs::File::open(conformance("thanos-bucket")?.join(archive)).expect("the archive");
    let dir = tempfile::tempdir().unwrap();
    tar::Archive::new(zstd::Decoder::new(file).unwrap()).unpack(dir.path()).unwrap();
    Some(dir)
}

async fn store_over(
    dir: &Path,
    configure: impl FnOnce(&mut StoreConfig),
) -> (BucketStore, tempfile::TempDir, Runtime) {
    let (runtime, cache) = (Runtime::system(2), tempfile::tempdir().unwrap());
    let files = LocalFileSystem::new_with_prefix(dir).unwrap();
    let bucket = Bucket::new(Arc::new(files), BucketSettings::named("golden"), &runtime);
    let mut config = StoreConfig::new(cache.path().join("index"));
    configure(&mut config);
    let store = BucketStore::new(bucket, runtime.clone(), config).unwrap();
    store.sync().await.unwrap();
    (store, cache, runtime)
}

fn everything() -> SeriesRequest {
    SeriesRequest::new(i64::MIN, i64::MAX, vec![])
}

fn floats(c: &Chunk) -> (Vec<i64>, Vec<f64>) {
    let ChunkData::Encoded(encoding, data) = &c.data else { panic!("encoded") };
    let (mut t, mut v) = (Vec::new(), Vec::new());
    decode_floats(*encoding, data, &mut t, &mut v).unwrap();
    (t, v)
}

fn raw_samples(series: &[Series]) -> Samples {
    let mut all = Samples::new();
    for s in series {
        let into = all.entry(s.labels.to_string()).or_default();
        for c in &s.chunks {
            let AggrChunk::Raw(c) = c else { panic!("raw was asked for") };
            let (t, v) = floats(c);
            into.extend(t.into_iter().zip(v.into_iter().map(f64::to_bits)));
        }
    }
    all
}

/// The same, read from the blocks' folders without the store, external label added.
fn samples_of_folders(dir: &Path) -> Samples {
    let mut all = Samples::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let block = BlockReader::open(&RealDisk, &entry.unwrap().path()).unwrap();
        for series in block.select(&[], i64::MIN, i64::MAX).unwrap() {
            let series = series.unwrap();
            let mut labels = LabelsBuilder::from_labels(series.labels.as_ref());
            labels.set("tenant_id", "golden");
            let into = all.entry(labels.build().to_string()).or_default();
            for c in &series.chunks {
                let (mut t, mut v) = (Vec::new(), Vec::new());
                decode_floats(Encoding::from_byte(c.encoding).unwrap(), &c.data, &mut t, &mut v).unwrap();
                into.extend(t.into_iter().zip(v.into_iter().map(f64::to_bits)));
            }
        }
    }
    all
}

fn count(s: &Samples) -> usize {
    s.values().map(BTreeMap::len).sum()
}

fn assert_sorted(series: &[Series]) {
    assert!(series.is_sorted_by(|a, b| a.labels < b.labels), "strictly increasing labels");
    let ordered = |s: &Series| s.chunks.is_sorted_by(|a, b| a.min_ms() <= b.min_ms());
    assert!(series.iter().all(ordered), "chunks in order of time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_archives_hold_the_samples_of_the_raw_blocks() {
    let (Some(raw), Some(done)) = (unpack(RAW), unpack(DONE)) else { return };
    let expected = samples_of_folders(raw.path());
    for dir in [&raw, &done] {
        let (store, _cache, _) = store_over(dir.path(), |_| {}).await;
        let series = collect(&store, everything()).await.unwrap();
        assert_sorted(&series);
        let got = raw_samples(&series);
        println!("compared {} series, {} samples", got.len(), count(&got));
        assert!(got.len() == 11 && count(&got) > 400_000);
        assert!(got == expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_elsewhere_is_left_out_and_what_is_only_partly_held_is_not() {
    let (Some(raw), Some(done)) = (unpack(RAW), unpack(DONE)) else { return };
    let mut blocks: Vec<ulid::Ulid> = std::fs::read_dir(raw.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    let (whole, _cache, _) = store_over(raw.path(), |_| {}).await;
    let all = count(&raw_samples(&collect(&whole, everything()).await.unwrap()));
    // The compacted blocks have raw blocks of which one is missing here: they are read.
    let missing = blocks.pop().unwrap();
    let held: BTreeSet<ulid::Ulid> = blocks.into_iter().collect();
    let (store, _cache, _) = store_over(raw.path(), |_| {}).await;
    let but_one = held.clone();
    store.leave_out(Arc::new(move || but_one.clone()));
    let rest = count(&raw_samples(&collect(&store, everything()).await.unwrap()));
    let block = BlockReader::open(&RealDisk, &raw.path().join(missing.to_string())).unwrap();
    assert_eq!(rest as u64, block.meta().stats.num_samples);
    assert!(rest > 0 && rest < all);
    let (compacted, _cache, _) = store_over(done.path(), |_| {}).await;
    compacted.leave_out(Arc::new(move || held.clone()));
    let got = count(&raw_samples(&collect(&compacted, everything()).await.unwrap()));
    assert!(got >= rest && got <= all);
    let nothing_left: BTreeSet<ulid::Ulid> = std::fs::read_dir(raw.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    store.leave_out(Arc::new(move || nothing_left.clone()));
    assert_eq!(
        count(&raw_samples(&collect(&store, everything()).await.unwrap())),
        rest,
        "only the first call has an effect"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coarser_resolution_is_answered_where_there_is_one() {
    let Some(done) = unpack(DONE) else { return };
    let (store, _cache, _) = store_over(done.path(), |_| {}).await;
    for (resolution_ms, windows_at_least) in [(300_000, 60_000), (3_600_000, 6_000)] {
        let request = SeriesRequest { max_resolution_ms: resolution_ms, ..everything() };
        let series = collect(&store, request).await.unwrap();
        assert_sorted(&series);
        let (mut windows, mut raw_chunks, mut raw_count, mut in_windows) = (0, 0, 0.0, 0.0);
        for c in series.iter().flat_map(|s| &s.chunks) {
            match c {
                AggrChunk::Raw(c) => {
                    raw_chunks += 1;
                    raw_count += floats(c).0.len() as f64;
                }
                AggrChunk::Downsampled(a) => {
                    let (t, counts) = floats(a.count.as_ref().expect("a count"));
                    windows += t.len();
                    in_windows += counts.iter().sum::<f64>();
                    assert!(a.sum.is_some() && a.min.is_some() && a.max.is_some() && a.counter.is_some());
                }
            }
        }
        println!("{resolution_ms} ms: {} series, {windows} windows, {raw_chunks} raw chunks", series.len());
        assert!(series.len() == 11 && windows > windows_at_least && raw_chunks > 0);
        // Every raw sample is in a window or answered raw; a raw chunk at the border of a gap may stand in both.
        let total = raw_count + in_windows;
        assert!((506_598.0..506_598.0 * 1.02).contains(&total), "{total}");
    }
}

#[tokio::test]
async fn labels_are_those_that_thanos_answers() {
    let Some(done) = unpack(DONE) else { return };
    let path = conformance("thanos-bucket").expect("it was there").join("golden-metadata.json");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let texts = |v: &serde_json::Value| -> Vec<String> {
        v["data"].as_array().unwrap().iter().map(|x| x.as_str().unwrap().to_owned()).collect()
    };
    let (store, _cache, _) = store_over(done.path(), |_| {}).await;
    let request = |matchers| LabelsRequest::new(i64::MIN, i64::MAX, matchers);
    let names = store.label_names(request(vec![])).await.unwrap();
    assert_eq!(names.values, texts(&golden["labels"]));
    let values = store.label_values("__name__", request(vec![])).await.unwrap();
    assert_eq!(values.values, texts(&golden["values"]));
    let series = collect(&store, SeriesRequest { skip_chunks: true, ..everything() }).await.unwrap();
    let theirs: BTreeSet<Labels> = golden["series"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| {
            Labels::from_pairs(s.as_object().unwrap().iter().map(|(n, v)| (n, v.as_str().unwrap()))).unwrap()
        })
        .collect();
    let ours: BTreeSet<Labels> = series.into_iter().map(|s| s.labels).collect();
    println!("compared {} names, {} values, {} series", names.values.len(), values.values.len(), ours.len());
    assert!(ours.len() == 11);
    assert_eq!(ours, theirs);

    let up = || request(vec![Matcher::equal("__name__", "up")]);
    assert_eq!(store.label_names(up()).await.unwrap().values, ["__name__", "instance", "tenant_id"]);
    assert_eq!(store.label_values("instance", up()).await.unwrap().values, ["i0", "i1"]);
    assert_eq!(store.label_values("tenant_id", up()).await.unwrap().values, ["golden"]);
    assert!(store.label_values("room", up()).await.unwrap().values.is_empty());
    assert_eq!(store.label_names(LabelsRequest { limit: 2, ..up() }).await.unwrap().values.len(), 2);
}

#[tokio::test]
async fn requests_are_narrowed_by_tenant_label_and_time() {
    let Some(raw) = unpack(RAW) else { return };
    let (store, _cache, runtime) = store_over(raw.path(), |_| {}).await;
    let info = store.info();
    assert_eq!(info.label_sets, [Labels::from_pairs([("tenant_id", "golden")]).unwrap()]);
    let up =
        || vec![Matcher::equal("__name__", "up"), Matcher::new(MatchOp::Regex, "instance", "i.*").unwrap()];
    let answered = |request| async { collect(&store, request).await.unwrap().len() };
    let start = 1_735_689_600_000;
    let first_hour = SeriesRequest::new(start, start + 3_599_999, up());
    let series = collect(&store, first_hour.clone()).await.unwrap();
    assert_eq!(series.len(), 2);
    assert!(series.iter().all(|s| s.chunks.len() == 1), "one block of 384 is asked");
    assert!(runtime.metrics.render().contains("thanos_bucket_store_series_blocks_queried_sum 1"));
    let other = TenantScope::Only(vec![TenantId::new("other").unwrap()]);
    assert_eq!(answered(SeriesRequest { tenants: other, ..first_hour.clone() }).await, 0);
    let golden = TenantScope::Only(vec![TenantId::new("golden").unwrap()]);
    assert_eq!(answered(SeriesRequest { tenants: golden, ..first_hour.clone() }).await, 2);
    let mut matchers = up();
    matchers.push(Matcher::new(MatchOp::NotEqual, "tenant_id", "golden").unwrap());
    assert_eq!(answered(SeriesRequest { matchers, ..first_hour.clone() }).await, 0);
    assert_eq!(answered(SeriesRequest::new(0, start - 1, up())).await, 0);
    assert_eq!(answered(SeriesRequest { limit: 1, ..first_hour }).await, 1);
}

#[tokio::test]
async fn limits_end_a_request_with_their_name() {
    let Some(raw) = unpack(RAW) else { return };
    let (store, _cache, _) = store_over(raw.path(), |c| c.max_series = 10).await;
    let refused = collect(&store, everything()).await.unwrap_err();
    assert!(matches!(refused, StoreError::LimitExceeded { needed: 11, limit: 10, .. }), "{refused}");
    // Of labels alone a limit bounds the answer.
    let few = SeriesRequest { skip_chunks: true, limit: 11, ..everything() };
    assert_eq!(collect(&store, few).await.unwrap().len(), 11);
    let (store, _cache, _) = store_over(raw.path(), |c| c.max_chunk_bytes = 100_000).await;
    let refused = collect(&store, everything()).await.unwrap_err();
    assert!(refused.to_string().contains("bytes of chunks"), "{refused}");
}

#[tokio::test]
async fn what_a_request_may_read_bounds_labels_and_names() {
    let Some(raw) = unpack(RAW) else { return };
    let (store, _cache, _) = store_over(raw.path(), |_| {}).await;
    let labels = SeriesRequest { skip_chunks: true, ..everything() };
    let all = collect(&store, labels.clone()).await.unwrap();
    let bytes: usize = all.iter().map(Series::bytes).sum();
    let series = async |max_series, max_bytes| {
        let bounds = ReadBounds { max_series, max_bytes, ..ReadBounds::default() };
        collect(&store, SeriesRequest { bounds, ..labels.clone() }).await.map(|s| s.len())
    };
    let n = all.len() as u64;
    assert_eq!(series(n, bytes as u64).await.unwrap(), all.len());
    assert!(matches!(series(3, 0).await, Err(StoreError::LimitExceeded { needed: 4, limit: 3, .. })));
    assert!(matches!(series(0, 100).await, Err(StoreError::LimitExceeded { limit: 100, .. })));
    let names = async |max_bytes, limit| {
        let bounds = ReadBounds { max_bytes, ..ReadBounds::default() };
        let request = LabelsRequest { limit, bounds, ..LabelsRequest::new(i64::MIN, i64::MAX, vec![]) };
        let names = store.label_names(request.clone()).await?.values.len();
        Ok((names, store.label_values("__name__", request).await?.values.len()))
    };
    assert!(matches!(names(5, 0).await, Err(StoreError::LimitExceeded { limit: 5, .. })));
    assert_eq!(names(1_000, 1).await.unwrap(), (1, 1));
}

#[tokio::test]
async fn a_small_index_cache_answers_the_same() {
    let Some(done) = unpack(DONE) else { return };
    let (all, _cache, _) = store_over(done.path(), |_| {}).await;
    let (small, cache, runtime) = store_over(done.path(), |c| c.index_cache_bytes = 4_000).await;
    let expected = raw_samples(&collect(&all, everything()).await.unwrap());
    for _ in 0..2 {
        assert!(raw_samples(&collect(&small, everything()).await.unwrap()) == expected);
    }
    let kept: u64 = std::fs::read_dir(cache.path().join("index"))
        .unwrap()
        .map(|e| e.unwrap().metadata().unwrap().len())
        .sum();
    assert!(kept <= 4_000, "{kept} bytes on disk");
    let metrics = runtime.metrics.render();
    assert!(metrics.contains("cairn_store_index_loads_total"), "{metrics}");
}

#[tokio::test]
async fn damaged_blocks_are_quarantined_and_named_and_the_others_answer() {
    for (file, damage) in [
        ("index", "cut"),
        ("index", "rot"),
        ("chunks/000001", "cut"),
        ("chunks/000001", "rot"),
        ("index", "gone"),
    ] {
        let Some(raw) = unpack(RAW) else { return };
        let mut dirs: Vec<_> = std::fs::read_dir(raw.path()).unwrap().map(|e| e.unwrap().path()).collect();
        dirs.sort();
        let victim = &dirs[7];
        let name = victim.file_name().unwrap().to_str().unwrap().to_owned();
        let path = victim.join(file);
        let mut content = std::fs::read(&path).unwrap();
        match damage {
            "cut" => content.truncate(content.len() / 2),
            "rot" => content[100..300].fill(0xee),
            _ => {}
        }
        if damage == "gone" {
            std::fs::remove_file(&path).unwrap();
        } else {
            std::fs::write(&path, content).unwrap();
        }
        let (store, _cache, runtime) = store_over(raw.path(), |_| {}).await;
        let mut stream = store.series(everything()).await.unwrap();
        let (mut series, mut errors) = (Vec::new(), Vec::new());
        while let Some(item) = stream.next().await {
            match item {
                Ok(batch) => series.extend(batch),
                Err(e) => errors.push(e.to_string()),
            }
        }
        assert_eq!(errors.len(), 1, "{file} {damage}: {errors:?}");
        assert!(errors[0].contains(&name), "{errors:?}");
        let samples = count(&raw_samples(&series));
        assert_eq!(samples, 506_598 - 1_320, "{file} {damage}: all but one block");
        assert_eq!(store.quarantined().len(), 1);
        assert!(runtime.metrics.render().contains("cairn_store_blocks_quarantined 1"));
        // From then on it is left out.
        let again = collect(&store, everything()).await.unwrap();
        assert_eq!(count(&raw_samples(&again)), 506_598 - 1_320);
        store.sync().await.unwrap();
        assert_eq!(store.quarantined().len(), 1, "a sync does not bring it back");
        let (bad, good) =
            (name.parse().unwrap(), dirs[8].file_name().unwrap().to_str().unwrap().parse().unwrap());
        assert!(!store.lists(bad) && store.lists(good), "nobody lets go of a copy for a damaged block");
    }
}
