use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cairn_model::storage::{LabelsRequest, Series, SeriesRequest, StoreApi};
use cairn_model::tenant::{TENANT_LABEL, TenantScope};
use cairn_model::{AggrChunk, ChunkData, Labels, Matcher, TenantId};
use cairn_runtime::disk::{DiskOp, Fault};
use cairn_runtime::{Disk, MemDisk, OpenHow, Rng};
use futures::TryStreamExt;
use ulid::Ulid;

use super::*;
use crate::chunkenc::{decode_floats, xor};
use crate::index::SymbolSet;
use crate::meta::{BlockMeta, ThanosMeta};
use crate::tombstones::{Interval, Tombstones};

const DIR: &str = "/blocks";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn chunk(t_ms: &[i64], value: f64) -> BlockChunk {
    let data = Bytes::from(xor::encode(t_ms, &vec![value; t_ms.len()]));
    BlockChunk { min_ms: t_ms[0], max_ms: *t_ms.last().unwrap(), encoding: 1, data }
}

/// Ten series of three chunks of four samples each, from 0 to 1,150 ms.
fn sample_series() -> Vec<(Labels, Vec<BlockChunk>)> {
    (0..10)
        .map(|i| {
            let of_chunk = |c: i64| chunk(&[c * 400, c * 400 + 100, c * 400 + 200, c * 400 + 350], i as f64);
            (labels(&[("__name__", "m"), ("i", &i.to_string())]), (0..3).map(of_chunk).collect())
        })
        .collect()
}

fn write(
    disk: &MemDisk,
    meta: BlockMeta,
    series: &[(Labels, Vec<BlockChunk>)],
    segment_bytes: u64,
) -> Result<BlockMeta, crate::TsdbError> {
    let mut symbols = SymbolSet::new();
    series.iter().for_each(|(l, _)| symbols.add_labels(l.as_ref()));
    let options = BlockOptions { segment_bytes, ..BlockOptions::default() };
    disk.create_dir_all(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    let mut w = BlockWriter::create(disk, Path::new(DIR), meta, symbols, options)?;
    for (l, chunks) in series {
        w.add_series(l.as_ref(), chunks)?;
    }
    w.finish()
}

fn ulid(n: u128) -> Ulid {
    Ulid(n << 80 | n)
}

fn folder(ulid: Ulid) -> PathBuf {
    Path::new(DIR).join(ulid.to_string())
}

fn tenant_meta(n: u128, tenant: &str) -> BlockMeta {
    let external = labels(&[(TENANT_LABEL, tenant), ("region", "eu")]);
    BlockMeta { thanos: Some(ThanosMeta::raw(&external, "receive")), ..BlockMeta::new(ulid(n), 0, 7_200_000) }
}

fn sample_times(chunks: &[BlockChunk]) -> Vec<i64> {
    let (mut t, mut v) = (Vec::new(), Vec::new());
    for c in chunks {
        decode_floats(cairn_model::Encoding::Xor, &c.data, &mut t, &mut v).unwrap();
    }
    t
}

#[test]
fn what_is_written_is_read_and_verified() {
    let disk = MemDisk::new();
    let series = sample_series();
    let meta = write(&disk, tenant_meta(1, "acme"), &series, 100).unwrap();
    assert_eq!((meta.stats.num_series, meta.stats.num_chunks, meta.stats.num_samples), (10, 30, 120));
    let block = BlockReader::open(&disk, &folder(ulid(1))).unwrap();
    assert_eq!(block.meta(), &meta);
    assert!(block.segments().size().0 > 5, "small segments were cut");
    let read: Vec<_> = block.select(&[], i64::MIN, i64::MAX).unwrap().map(|s| s.unwrap()).collect();
    let read: Vec<_> = read.into_iter().map(|s| (s.labels, s.chunks)).collect();
    assert_eq!(read, series);

    let outcome = verify(&block);
    assert!(outcome.is_sound(), "{:#?}", outcome.findings);
    assert_eq!(outcome.stats, meta.stats);

    let thanos = meta.thanos.unwrap();
    for file in thanos.files.iter().filter(|f| f.rel_path != "meta.json") {
        let path = folder(ulid(1)).join(&file.rel_path);
        assert_eq!(disk.read(&path).unwrap().len() as u64, file.size_bytes, "{}", file.rel_path);
    }
    assert!(thanos.index_stats.series_max_size > 0 && thanos.index_stats.chunk_max_size > 0);
}

#[test]
fn a_time_range_gives_only_chunks_that_overlap_it() {
    let disk = MemDisk::new();
    write(&disk, BlockMeta::new(ulid(1), 0, 2000), &sample_series(), 1 << 20).unwrap();
    let block = BlockReader::open(&disk, &folder(ulid(1))).unwrap();
    let one = [Matcher::equal("i", "3")];
    let chunks = |from, to| {
        let found: Vec<_> = block.select(&one, from, to).unwrap().map(|s| s.unwrap()).collect();
        found.iter().flat_map(|s| s.chunks.iter().map(|c| c.min_ms)).collect::<Vec<_>>()
    };
    assert_eq!(chunks(0, 399), [0]);
    assert_eq!(chunks(350, 400), [0, 400]);
    assert!(chunks(351, 399).is_empty());
    assert!(chunks(5000, 6000).is_empty());
}

#[test]
fn deleted_stretches_are_left_out() {
    let disk = MemDisk::new();
    write(&disk, BlockMeta::new(ulid(1), 0, 2000), &sample_series(), 1 << 20).unwrap();
    let reference = {
        let block = BlockReader::open(&disk, &folder(ulid(1))).unwrap();
        u64::from(block.index().select(&[Matcher::equal("i", "3")]).unwrap()[0])
    };
    let mut stones = Tombstones::default();
    stones.add(reference, Interval { min_ms: 100, max_ms: 900 });
    disk.write_atomic(&folder(ulid(1)).join(TOMBSTONES_FILE), &stones.to_bytes()).unwrap();
    let block = BlockReader::open(&disk, &folder(ulid(1))).unwrap();
    for found in block.select(&[], 0, 2000).unwrap() {
        let found = found.unwrap();
        let times = sample_times(&found.chunks);
        if found.labels.get("i") == Some("3") {
            assert_eq!(times, [0, 1000, 1150]);
        } else {
            assert_eq!(times.len(), 12);
        }
    }
}

#[test]
fn a_chunk_outside_the_block_is_refused() {
    let disk = MemDisk::new();
    let e = write(&disk, BlockMeta::new(ulid(1), 0, 1150), &sample_series(), 1 << 20).unwrap_err();
    assert!(e.to_string().contains("lies outside the block's range 0..1150"), "{e}");
    assert_eq!(remove_unfinished(&disk, Path::new(DIR)).unwrap(), 1);
    assert!(disk.list(Path::new(DIR)).unwrap().is_empty());
}

/// Every disk call in turn fails, then the power goes: there is a whole block or none.
#[test]
fn a_failed_write_leaves_a_whole_block_or_none() {
    let series = sample_series();
    let mut finished = 0;
    for failing in 0..200 {
        let disk = MemDisk::new();
        let mut calls = 0;
        disk.set_fault_hook(move |op| {
            if matches!(op, DiskOp::Read(_)) {
                return None;
            }
            calls += 1;
            // The first calls make the parent folder.
            (calls == failing + 3).then_some(Fault::Eio)
        });
        let outcome = write(&disk, BlockMeta::new(ulid(1), 0, 2000), &series, 300);
        disk.clear_faults();
        disk.crash(&Rng::from_seed(failing));
        if disk.exists(&folder(ulid(1))).unwrap() {
            let block = BlockReader::open(&disk, &folder(ulid(1))).unwrap();
            assert!(verify(&block).is_sound());
        } else {
            assert!(outcome.is_err(), "a finished block is gone after call {failing} failed");
        }
        if outcome.is_ok() {
            finished += 1;
        }
        if finished == 3 {
            return; // the fault lies behind the last call
        }
    }
    panic!("the writer never ran out of calls to fail");
}

#[test]
fn every_flipped_bit_of_the_chunks_is_found_and_named() {
    let disk = MemDisk::new();
    write(&disk, BlockMeta::new(ulid(1), 0, 2000), &sample_series()[..2], 1 << 20).unwrap();
    let segment = folder(ulid(1)).join("chunks/000001");
    let whole = disk.read(&segment).unwrap();
    let rewrite = |bytes: &[u8]| {
        disk.open(&segment, OpenHow::Write).unwrap().write_all_at(bytes, 0).unwrap();
    };
    for bit in 8 * 8..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        rewrite(&bytes);
        let block = BlockReader::open(&disk, &folder(ulid(1))).unwrap();
        let outcome = verify(&block);
        assert!(!outcome.is_sound(), "bit {bit}");
        assert!(outcome.findings[0].object.contains("chunks/000001"), "{:?}", outcome.findings[0]);
    }
}

#[test]
fn flipped_bits_of_the_index_never_panic_a_verification() {
    let disk = MemDisk::new();
    write(&disk, BlockMeta::new(ulid(1), 0, 2000), &sample_series()[..2], 1 << 20).unwrap();
    let path = folder(ulid(1)).join(INDEX_FILE);
    let whole = disk.read(&path).unwrap();
    let (mut noticed, mut padding) = (0, 0);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        disk.open(&path, OpenHow::Write).unwrap().write_all_at(&bytes, 0).unwrap();
        match BlockReader::open(&disk, &folder(ulid(1))) {
            Ok(block) if verify(&block).is_sound() => padding += 1,
            _ => noticed += 1,
        }
    }
    // Padding between entries is under no checksum, and versions 2 and 3 are one.
    assert!(noticed > 8 * padding, "{noticed} noticed, {padding} not");
}

async fn collect(store: &BlockStore, request: SeriesRequest) -> Vec<Series> {
    store.series(request).await.unwrap().try_concat().await.unwrap()
}

fn names(series: &[Series]) -> Vec<String> {
    series.iter().map(|s| s.labels.to_string()).collect()
}

fn open_store(disk: &MemDisk) -> BlockStore {
    BlockStore::open_inline(Arc::new(disk.clone()), Path::new(DIR)).unwrap()
}

#[tokio::test]
async fn blocks_answer_as_one_store_in_order_of_labels() {
    let disk = MemDisk::new();
    let at = |t: i64| vec![chunk(&[t, t + 10], 1.0)];
    let a = [(labels(&[("a", "1")]), at(0)), (labels(&[("a", "1"), ("b", "1")]), at(0))];
    let b = [(labels(&[("a", "1")]), at(100)), (labels(&[("c", "1")]), at(100))];
    write(&disk, tenant_meta(1, "acme"), &a, 1 << 20).unwrap();
    write(&disk, tenant_meta(2, "acme"), &b, 1 << 20).unwrap();
    write(&disk, tenant_meta(3, "other"), &b, 1 << 20).unwrap();
    let store = open_store(&disk);
    let acme = TenantScope::Only(vec![TenantId::new("acme").unwrap()]);
    let request = SeriesRequest { tenants: acme.clone(), ..SeriesRequest::new(0, 1000, vec![]) };

    let got = collect(&store, request.clone()).await;
    // External labels move {a, b} before {a}.
    assert_eq!(
        names(&got),
        [
            r#"{a="1", b="1", region="eu", tenant_id="acme"}"#,
            r#"{a="1", region="eu", tenant_id="acme"}"#,
            r#"{c="1", region="eu", tenant_id="acme"}"#
        ]
    );
    let times: Vec<i64> = got[1].chunks.iter().map(AggrChunk::min_ms).collect();
    assert_eq!(times, [0, 100]);
    assert!(matches!(&got[1].chunks[0], AggrChunk::Raw(c) if matches!(c.data, ChunkData::Encoded(..))));

    assert_eq!(collect(&store, SeriesRequest::new(0, 1000, vec![])).await.len(), 5);
    assert_eq!(collect(&store, SeriesRequest { limit: 2, ..request.clone() }).await.len(), 2);
    let none = SeriesRequest { min_ms: 200, ..request.clone() };
    assert!(collect(&store, none).await.is_empty());
    let us = SeriesRequest { matchers: vec![Matcher::equal("region", "us")], ..request };
    assert!(collect(&store, us).await.is_empty());

    let ask = |matchers| LabelsRequest { tenants: acme.clone(), ..LabelsRequest::new(0, 1000, matchers) };
    let names = store.label_names(ask(vec![])).await.unwrap().values;
    assert_eq!(names, ["a", "b", "c", "region", "tenant_id"]);
    let values = store.label_values("tenant_id", ask(vec![Matcher::equal("c", "1")])).await.unwrap().values;
    assert_eq!(values, ["acme"]);
    assert_eq!(store.label_values("b", ask(vec![])).await.unwrap().values, ["1"]);
    let info = store.info();
    assert_eq!((info.min_ms, info.max_ms, info.label_sets.len()), (0, 7_199_999, 2));
}

#[tokio::test]
async fn a_corrupt_block_is_set_aside_and_the_others_answer() {
    let disk = MemDisk::new();
    let at = |t: i64| vec![chunk(&[t, t + 10], 1.0)];
    for n in 1..=3u128 {
        let series = [(labels(&[("n", &n.to_string())]), at(n as i64 * 100))];
        write(&disk, tenant_meta(n, "acme"), &series, 1 << 20).unwrap();
    }
    let break_at = |path: PathBuf, at: u64| {
        let file = disk.open(&path, OpenHow::Write).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    };
    break_at(folder(ulid(1)).join(crate::meta::META_FILE), 0);
    break_at(folder(ulid(2)).join("chunks/000001"), 12);
    let store = open_store(&disk);
    assert_eq!(store.len(), 2);
    let got = collect(&store, SeriesRequest::new(0, 1000, vec![])).await;
    assert_eq!(names(&got), [r#"{n="3", region="eu", tenant_id="acme"}"#]);
    let aside = store.quarantined();
    assert_eq!(aside.len(), 2);
    assert!(aside[0].reason.contains("meta.json"), "{}", aside[0].reason);
    assert!(aside[1].reason.contains("chunks/000001: checksum mismatch"), "{}", aside[1].reason);
    store.reload().unwrap();
    assert_eq!((store.len(), store.quarantined().len()), (1, 2));
    disk.remove_dir_all(&folder(ulid(1))).unwrap();
    store.reload().unwrap();
    assert_eq!(store.quarantined().len(), 1);
}

#[tokio::test]
async fn an_answer_that_lost_a_block_whose_copy_others_left_out_says_so() {
    let disk = MemDisk::new();
    for n in 1..=2u128 {
        let series = [(labels(&[("n", &n.to_string())]), vec![chunk(&[1, 2], 1.0)])];
        write(&disk, tenant_meta(n, "acme"), &series, 1 << 20).unwrap();
    }
    let file = disk.open(&folder(ulid(2)).join("chunks/000001"), OpenHow::Write).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 12).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 12).unwrap();
    let store = open_store(&disk);
    store.note_copy(ulid(1), ulid(11));
    store.note_copy(ulid(2), ulid(12));
    assert_eq!(store.copies(), [ulid(11), ulid(12)].into());
    let stream = store.series(SeriesRequest::new(0, 1000, vec![])).await.unwrap();
    let answer: Vec<_> = futures::StreamExt::collect(stream).await;
    let (good, bad): (Vec<_>, Vec<_>) = answer.into_iter().partition(Result::is_ok);
    let good: Vec<Series> = good.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(names(&good), [r#"{n="1", region="eu", tenant_id="acme"}"#]);
    let error = bad.into_iter().next().unwrap().unwrap_err().to_string();
    assert!(error.contains(&format!("local block {}", ulid(2))), "{error}");
    assert_eq!(store.copies(), [ulid(11)].into(), "from now on its copy is read");
}
