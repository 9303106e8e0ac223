//! Head snapshots: a start from one is a start from the log, only sooner; whatever is wrong with one costs time only.

use std::path::{Path, PathBuf};

use cairn_model::storage::Appendable;
use cairn_model::{Histogram, Value};
use cairn_runtime::disk::{DiskOp, Fault};
use cairn_runtime::{Disk, MemDisk, OpenHow, Rng};
use cairn_tsdb::{Db, DbOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::*;

/// Series of the tests.
const SERIES: u32 = 40;

async fn append(db: &Db, n: u32, t_ms: i64, value: f64) {
    let mut batch = batch_of("acme");
    batch.push_floats(labels(n).as_ref(), &[(t_ms, value)]);
    let done = db.append(batch).await.expect("the disk is fine");
    assert!(done.rejections.is_empty(), "{done:?}");
}

async fn append_histogram(db: &Db, n: u32, t_ms: i64, count: u64) {
    let mut batch = batch_of("acme");
    batch.push_floats(labels(n).as_ref(), &[]);
    let h = Histogram { count, zero_count: count, sum: count as f64, ..Histogram::default() };
    batch.histograms.push(cairn_model::batch::HistogramSample {
        t_ms,
        start_ms: 0,
        value: Value::Histogram(Arc::new(h)),
        refused: false,
    });
    batch.series.last_mut().expect("pushed").histograms = 0..1;
    let done = db.append(batch).await.expect("the disk is fine");
    assert!(done.rejections.is_empty(), "{done:?}");
}

/// Floats in order and not, histograms, two windows, full chunks: `rounds` of them from `first` on.
async fn fill(db: &Db, first: i64, rounds: i64) {
    for round in first..first + rounds {
        for n in 0..SERIES {
            append(db, n, 1_000_000 + round * 50, f64::from(n) + round as f64).await;
        }
        append(db, 3, 999_000 - round * 7, 0.5).await;
        append_histogram(db, SERIES + 1, 1_000_000 + round * 50, round as u64).await;
    }
}

fn snapshots(disk: &MemDisk) -> Vec<PathBuf> {
    let dir = Path::new("/data/snapshot");
    disk.list(dir).expect("the folder is there").into_iter().map(|e| dir.join(e.name)).collect()
}

/// A database with a snapshot and a tail behind it, shut down; gives what it read last.
async fn with_snapshot(disk: &MemDisk) -> Contents {
    let db = open(disk, 1).await;
    fill(&db, 0, 150).await;
    assert!(db.take_snapshot().await.expect("the disk is fine"));
    fill(&db, 150, 20).await;
    let contents = read_all(&db).await;
    db.shutdown();
    contents
}

/// Starts anew, checks what is read, writes on and starts once more; gives the series that the first start loaded.
async fn check_start(disk: &MemDisk, options: DbOptions, mut want: Contents, when: &str) -> u64 {
    let db = open_with(options.clone(), disk, 2).await;
    assert_same(&read_all(&db).await, &want, when);
    fill(&db, 170, 3).await;
    want = read_all(&db).await;
    let restored = db.replay_report().restored;
    db.shutdown();
    let db = open_with(options, disk, 3).await;
    assert_same(&read_all(&db).await, &want, &format!("{when}, at the start after"));
    restored
}

#[test]
fn a_start_loads_the_snapshot_and_replays_only_what_is_behind_it() {
    run(async {
        let disk = MemDisk::new();
        let contents = with_snapshot(&disk).await;
        let db = open(&disk, 2).await;
        let report = db.replay_report().clone();
        assert_eq!(report.restored, u64::from(SERIES) + 1);
        assert_eq!((report.series, report.samples), (0, 20 * (u64::from(SERIES) + 2)));
        assert_same(&read_all(&db).await, &contents, "after the start");
        assert_eq!(db.tenant_series(&cairn_model::TenantId::new("acme").unwrap()), report.restored);
        // What was judged before is judged so again: a repeat is nothing, another value a conflict.
        let mut batch = batch_of("acme");
        batch.push_floats(labels(0).as_ref(), &[(1_000_000, 0.0), (1_000_050, 0.5)]);
        let done = db.append(batch).await.expect("the disk is fine");
        assert_eq!((done.floats, done.rejections.len()), (1, 1));
        db.shutdown();
        check_start(&disk, options(), contents, "once more").await;
    });
}

#[test]
fn a_snapshot_that_is_damaged_anywhere_is_not_used() {
    let rng = Rng::from_seed(4);
    for round in 0..60 {
        let rng = rng.clone();
        run(async move {
            let disk = MemDisk::new();
            let contents = with_snapshot(&disk).await;
            let [path] = &snapshots(&disk)[..] else { panic!("one snapshot") };
            let mut bytes = disk.read(path).expect("readable");
            let at = rng.below(bytes.len() as u64) as usize;
            if round % 4 == 0 {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << rng.below(8);
            }
            disk.write_atomic(path, &bytes).expect("writable");
            let restored = check_start(&disk, options(), contents, &format!("damage at {at}")).await;
            assert_eq!(restored, 0, "a damaged snapshot was used");
            assert!(snapshots(&disk).is_empty(), "and is removed");
        });
    }
}

#[test]
fn head_chunk_files_that_are_gone_or_changed_cost_a_longer_replay() {
    for damage in 0..2 {
        run(async move {
            let disk = MemDisk::new();
            let contents = with_snapshot(&disk).await;
            let dir = Path::new("/data/head");
            let files = disk.list(dir).expect("the folder is there");
            assert!(!files.is_empty(), "the snapshot has made files of full chunks");
            let path = dir.join(&files[files.len() / 2].name);
            if damage == 0 {
                disk.remove_file(&path).expect("removable");
            } else {
                let file = disk.open(&path, OpenHow::Write).expect("writable");
                file.write_all_at(&[0xFF; 8], files[files.len() / 2].len / 2).expect("writable");
                file.sync_data().expect("syncable");
            }
            assert_eq!(check_start(&disk, options(), contents, "with a bad head-chunk file").await, 0);
        });
    }
}

#[test]
fn a_snapshot_of_another_shape_of_the_head_is_not_used() {
    run(async {
        let disk = MemDisk::new();
        let contents = with_snapshot(&disk).await;
        let fewer = DbOptions { partitions: 2, ..options() };
        assert_eq!(check_start(&disk, fewer, contents, "with fewer partitions").await, 0);
    });
}

#[test]
fn a_log_whose_marked_segment_is_gone_goes_on_with_greater_numbers() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        fill(&db, 0, 30).await;
        assert!(db.take_snapshot().await.expect("the disk is fine"));
        let contents = read_all(&db).await;
        db.shutdown();
        for entry in disk.list(Path::new("/data/wal")).expect("the folder is there") {
            disk.remove_file(&Path::new("/data/wal").join(entry.name)).expect("removable");
        }
        let restored = check_start(&disk, options(), contents, "without a log").await;
        assert_eq!(restored, u64::from(SERIES) + 1);
    });
}

#[test]
fn whatever_the_disk_refuses_while_a_snapshot_is_taken_loses_nothing() {
    for fault in [Fault::Eio, Fault::Enospc(3)] {
        for nth in 0.. {
            let over = run(async move {
                let disk = MemDisk::new();
                let db = open(&disk, 1).await;
                fill(&db, 0, 130).await;
                assert!(db.take_snapshot().await.expect("the disk is fine"));
                fill(&db, 130, 10).await;
                let contents = read_all(&db).await;
                let calls = Arc::new(AtomicUsize::new(0));
                let counted = calls.clone();
                disk.set_fault_hook(move |op| match op {
                    // The log has tests of its own, and gives up a segment here.
                    DiskOp::Write(path, _) | DiskOp::Sync(path) if path.starts_with("/data/wal") => None,
                    _ => (counted.fetch_add(1, Ordering::Relaxed) == nth).then_some(fault),
                });
                let _ = db.take_snapshot().await; // it may have been done before the disk refused
                disk.clear_faults();
                disk.crash(&Rng::from_seed(nth as u64));
                drop(db);
                check_start(&disk, options(), contents, &format!("call {nth} refused")).await;
                calls.load(Ordering::Relaxed) <= nth
            });
            if over {
                assert!(nth > 6, "only {nth} calls of the disk");
                break;
            }
        }
    }
}

#[test]
fn a_snapshot_whose_mark_does_not_reach_the_log_is_none() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        fill(&db, 0, 30).await;
        assert!(db.take_snapshot().await.expect("the disk is fine"));
        let before = snapshots(&disk);
        fill(&db, 30, 5).await;
        let contents = read_all(&db).await;
        disk.set_fault_hook(|op| match op {
            DiskOp::Sync(path) if path.starts_with("/data/wal") && path.extension().is_some() => {
                Some(Fault::Eio)
            }
            _ => None,
        });
        let refused = db.take_snapshot().await.expect_err("its mark is not durable").to_string();
        assert!(refused.contains("its mark is not in the log"), "{refused}");
        assert_eq!(snapshots(&disk), before, "the one before stays");
        disk.clear_faults();
        disk.crash(&Rng::from_seed(7));
        assert_eq!(
            check_start(&disk, options(), contents, "from the one before").await,
            u64::from(SERIES) + 1
        );
    });
}

#[test]
fn writes_taken_during_a_start_from_a_snapshot_are_kept() {
    run(async {
        let disk = MemDisk::new();
        let mut want = with_snapshot(&disk).await;
        let db = Db::begin(options(), machine(&disk, 2)).await.expect("it begins");
        append(&db, 5, 1_009_990, 7.0).await;
        append(&db, 500, 1_009_990, 8.0).await;
        db.replay().await.expect("it replays");
        let got = read_all(&db).await;
        let more = |c: &Contents| c.values().map(|s| s.len()).sum::<usize>();
        assert_eq!(more(&got), more(&want) + 2);
        want = got;
        db.shutdown();
        check_start(&disk, options(), want, "after early writes").await;
    });
}

#[test]
fn maintenance_takes_one_when_the_replay_has_become_long_and_not_before() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        fill(&db, 0, 5).await;
        db.maintain().await;
        assert!(snapshots(&disk).is_empty());
        db.shutdown();
        let eager = DbOptions { replay_budget: std::time::Duration::ZERO, ..options() };
        disk.set_free_bytes(1 << 10);
        let db = open_with(eager.clone(), &disk, 2).await;
        fill(&db, 5, 5).await;
        db.maintain().await;
        assert!(snapshots(&disk).is_empty(), "what is left of the disk is the log's");
        db.shutdown();
        disk.set_free_bytes(1 << 40);
        let db = open_with(eager, &disk, 3).await;
        db.maintain().await;
        let first = snapshots(&disk);
        assert_eq!(first.len(), 1);
        db.maintain().await;
        assert_eq!(snapshots(&disk), first, "nothing was written since");
        for round in 10..60 {
            fill(&db, round, 1).await;
        }
        db.maintain().await;
        assert!(snapshots(&disk).len() == 1 && snapshots(&disk) != first, "the newer one replaces it");
    });
}
