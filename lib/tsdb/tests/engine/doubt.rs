//! What a start finds and cannot be sure of: a log that the disk does not give, blocks from before a lost fence, windows
//! that were forgotten. Nothing acknowledged may be let go because of it.

use std::path::Path;

use cairn_model::storage::{Appendable, StoreApi};
use cairn_runtime::disk::DiskOp;
use cairn_runtime::disk::Fault;
use cairn_runtime::{Disk, MemDisk, Rng};
use cairn_tsdb::wal::SyncMode;
use cairn_tsdb::{Db, DbOptions};

use crate::support::*;

async fn append(db: &Db, n: u32, t_ms: i64, value: f64) {
    let mut batch = batch_of("acme");
    batch.push_floats(labels(n).as_ref(), &[(t_ms, value)]);
    let done = db.append(batch).await.expect("the disk is fine");
    assert!(done.rejections.is_empty(), "{done:?}");
}

fn reads_fail(disk: &MemDisk, what: &'static str) {
    disk.set_fault_hook(move |op| match op {
        DiskOp::Read(path) | DiskOp::Open(path) if path.to_string_lossy().contains(what) => Some(Fault::Eio),
        _ => None,
    });
}

#[test]
fn a_log_segment_that_cannot_be_read_ends_the_start_and_loses_nothing() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        append(&db, 1, 10_000, 1.0).await;
        let before = read_all(&db).await;
        db.shutdown();
        reads_fail(&disk, ".wal");
        let refused = Db::open(options(), machine(&disk, 2)).await.err().expect("no start without the log");
        let text = refused.to_string();
        assert!(text.contains(".wal") && text.contains("move the file away"), "{text}");
        disk.clear_faults();
        let db = open(&disk, 3).await;
        assert_same(&read_all(&db).await, &before, "when the disk answers again");
    });
}

#[test]
fn a_block_that_the_disk_does_not_give_is_named_and_asked_for_again() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        append(&db, 1, 10_000, 1.0).await;
        db.seal_locally(24_000).await.unwrap();
        db.maintain().await;
        let before = read_all(&db).await;
        db.shutdown();
        reads_fail(&disk, "meta.json");
        let db = open(&disk, 2).await;
        let gaps = db.blocks().gaps();
        assert!(gaps.len() == 1 && gaps[0].contains("meta.json"), "{gaps:?}");
        assert!(read_all(&db).await.is_empty());
        disk.clear_faults();
        assert_same(&read_all(&db).await, &before, "when the disk answers again");
        assert!(db.blocks().gaps().is_empty());
    });
}

#[test]
fn a_block_that_lacks_samples_of_its_generation_does_not_stand_for_it() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        append(&db, 1, 10_000, 1.0).await;
        let sealed = db.closed_windows(24_000).await.unwrap();
        let old = db.cut(&sealed[0]).await.unwrap().expect("it has a sample");
        db.shutdown();
        // The log is lost with its fence, so the window is open again and its first generation is given out anew.
        for entry in disk.list(Path::new("/data/wal")).unwrap() {
            disk.remove_file(&Path::new("/data/wal").join(entry.name)).unwrap();
        }
        let db = open(&disk, 2).await;
        append(&db, 1, 11_000, 2.0).await;
        assert_eq!(db.closed_windows(24_000).await.unwrap(), sealed, "the same generation");
        let new = db.cut(&sealed[0]).await.unwrap().expect("it has a sample");
        assert_ne!(new.ulid, old.ulid);
        assert_eq!(db.cut(&sealed[0]).await.unwrap().expect("found again").ulid, new.ulid);
        db.release(&sealed[0]).await.unwrap();
        db.maintain().await;
        disk.crash(&Rng::from_seed(1));
        let db = open(&disk, 3).await;
        let samples = read_all(&db).await.into_values().next().expect("one series");
        assert_eq!(samples.into_keys().collect::<Vec<_>>(), [10_000, 11_000]);
    });
}

#[test]
fn late_samples_of_forgotten_windows_are_cut_and_survive() {
    const WINDOWS: i64 = 700;
    run(async {
        let disk = MemDisk::new();
        let options = DbOptions {
            block_duration: std::time::Duration::from_secs(1),
            close_after: std::time::Duration::ZERO,
            wal_segment_bytes: 4_000,
            ..options()
        };
        let mut db = open_with(options.clone(), &disk, 1).await;
        let mut expected = 0;
        for window in 0..WINDOWS {
            append(&db, 1, window * 1_000, window as f64).await;
            expected += 1;
            // A late one for a window of long ago, which may be forgotten by now.
            if window % 7 == 6 {
                append(&db, 2, window / 9 * 1_000 + window % 900, 0.5).await;
                expected += 1;
            }
            if window % 25 == 24 {
                db.seal_locally(window * 1_000).await.unwrap();
                db.maintain().await;
            }
            if window % 175 == 174 {
                disk.crash(&Rng::from_seed(window as u64));
                db = open_with(options.clone(), &disk, 2 + window as u64).await;
            }
        }
        db.seal_locally(2 * WINDOWS * 1_000).await.unwrap();
        db.seal_locally(2 * WINDOWS * 1_000).await.unwrap();
        db.maintain().await;
        let count = |contents: Contents| contents.values().map(|s| s.len()).sum::<usize>();
        assert_eq!(count(read_all(&db).await), expected);
        disk.crash(&Rng::from_seed(9));
        let db = open_with(options, &disk, 9).await;
        assert_eq!(count(read_all(&db).await), expected, "after a crash");
    });
}

/// A block survives the power cut that undoes an unsynced fence, and its generation would be given out twice.
#[test]
fn fences_are_synced_in_the_lazier_modes_too() {
    for sync in [SyncMode::Never, SyncMode::Interval(std::time::Duration::from_secs(3600))] {
        run(async move {
            let disk = MemDisk::new();
            let options = DbOptions { wal_sync: sync, ..options() };
            let db = open_with(options.clone(), &disk, 1).await;
            append(&db, 1, 10_000, 1.0).await;
            let sealed = db.closed_windows(24_000).await.unwrap();
            disk.crash(&Rng::from_seed(1));
            let db = open_with(options.clone(), &disk, 2).await;
            append(&db, 1, 11_000, 2.0).await;
            assert_eq!(db.closed_windows(24_000).await.unwrap(), sealed, "{sync:?}: closed before the crash");
            let block = db.cut(&sealed[0]).await.unwrap().expect("it has the sample of before");
            assert_eq!(
                block.stats.num_samples, 1,
                "{sync:?}: the late sample belongs to the next generation"
            );
            db.release(&sealed[0]).await.unwrap();
            disk.crash(&Rng::from_seed(2));
            let db = open_with(options, &disk, 3).await;
            let left: Vec<_> =
                db.closed_windows(24_000).await.unwrap().into_iter().map(|w| w.generation).collect();
            assert_eq!(left, [1], "{sync:?}: the first was released before the crash");
        });
    }
}
