//! A head at its share of the memory, and a process at its limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cairn_model::Labels;
use cairn_model::batch::{Appended, WriteBatch};
use cairn_model::storage::{AppendError, Appendable};
use cairn_runtime::{MemDisk, Rng};
use cairn_tsdb::head::MemoryBounds;
use cairn_tsdb::head::room::{SERIES_BETWEEN, TIME_BETWEEN};
use cairn_tsdb::{Db, DbOptions};

use crate::support::*;

const SERIES: u32 = 1000;

/// Samples at `t_ms` of [`SERIES`] series of a family.
fn batch(family: u32, t_ms: i64) -> WriteBatch {
    let mut batch = batch_of("acme");
    for n in 0..SERIES {
        batch.push_floats(name(family, n).as_ref(), &[(t_ms, 1.0)]);
    }
    batch
}

fn name(family: u32, n: u32) -> Labels {
    let (family, n) = (format!("family_{family}"), n.to_string());
    Labels::from_pairs([("__name__", family.as_str()), ("n", n.as_str())]).expect("names are unique")
}

async fn append(db: &Db, batch: WriteBatch) -> Result<Appended, String> {
    match db.append(batch).await {
        Ok(appended) => Ok(appended),
        Err(AppendError::Unavailable { reason, retry_after_s }) => {
            assert!(retry_after_s > 0);
            Err(reason)
        }
        Err(other) => panic!("{other}"),
    }
}

fn options_with(memory: MemoryBounds) -> DbOptions {
    DbOptions { memory, ..options() }
}

/// Adds families until one is refused; gives its number and what was said.
async fn fill(db: &Db, t_ms: i64) -> (u32, String) {
    for family in 0..200 {
        if let Err(reason) = append(db, batch(family, t_ms)).await {
            return (family, reason);
        }
    }
    panic!("{} bytes for {} series and never refused", db.head_bytes(), db.series());
}

#[test]
fn a_full_head_takes_samples_of_known_series_and_asks_to_repeat_the_others() {
    run(async {
        let (disk, bound) = (MemDisk::new(), 40 << 20);
        let db = open_with(options_with(MemoryBounds { head: bound, ..Default::default() }), &disk, 1).await;
        let (family, reason) = fill(&db, 10_000).await;
        assert!(family > 10, "{family}: {reason}");
        assert!(reason.contains("1000 new series") && reason.contains("--memory.limit"), "{reason}");
        let (bytes, series) = (db.head_bytes() as u64, db.series());
        assert_eq!(series, (family * SERIES) as usize, "none of them");
        let of_a_series = bytes / series as u64;
        assert!((bound..bound + 2 * SERIES_BETWEEN * of_a_series + (3 << 21)).contains(&bytes), "{bytes}");

        append(&db, batch(0, 10_100)).await.expect("known series go on");
        // One request with both: what is known of it is durable, although the sender is told to repeat.
        let mut both = batch(1, 10_100);
        both.push_floats(name(family, 7).as_ref(), &[(10_100, 1.0)]);
        let reason = append(&db, both).await.unwrap_err();
        assert!(reason.contains("no memory for 1 new series, the rest is stored"), "{reason}");
        disk.crash(&Rng::from_seed(1));

        // A start takes what was acknowledged, whatever the bound is now.
        let half = MemoryBounds { head: bound / 2, ..Default::default() };
        let db = open_with(options_with(half), &disk, 2).await;
        assert_eq!(db.series(), series);
        let contents = read_all(&db).await;
        let of_family =
            |f: u32| contents.iter().filter(move |(l, _)| l.starts_with(&format!("family_{f}{{")));
        for (known, samples) in [(0, 2), (1, 2), (2, 1)] {
            assert_eq!(of_family(known).count(), SERIES as usize);
            assert!(of_family(known).all(|(_, s)| s.len() == samples), "{known}");
        }
        assert_eq!(of_family(family).count(), 0);
        assert!(append(&db, batch(family, 10_200)).await.is_err());
    });
}

#[test]
fn there_is_room_again_when_series_have_left() {
    run(async {
        let disk = MemDisk::new();
        let db =
            open_with(options_with(MemoryBounds { head: 40 << 20, ..Default::default() }), &disk, 1).await;
        let (family, _) = fill(&db, 10_000).await;
        assert!(append(&db, batch(family, 30_000)).await.is_err());
        append(&db, batch(0, 30_000)).await.expect("known series go on");
        db.seal_locally(29_000).await.unwrap();
        db.maintain().await;
        assert_eq!(db.series(), SERIES as usize, "only what is newer than the sealed window stays");
        tokio::time::advance(TIME_BETWEEN).await;
        assert_eq!(
            append(&db, batch(family, 30_000)).await.expect("there is room").floats,
            u64::from(SERIES)
        );
    });
}

#[test]
fn a_process_at_its_limit_takes_nothing_until_it_is_below() {
    run(async {
        let (disk, used) = (MemDisk::new(), Arc::new(AtomicU64::new(10)));
        let now = used.clone();
        let bounds =
            MemoryBounds { head: 0, process: 1000, process_now: Arc::new(move || Some(now.load(Relaxed))) };
        let db = open_with(options_with(bounds), &disk, 1).await;
        append(&db, batch(0, 10_000)).await.expect("there is room");
        used.store(1000, Relaxed);
        tokio::time::advance(TIME_BETWEEN).await;
        let reason = append(&db, batch(0, 10_100)).await.unwrap_err();
        assert!(reason.contains("uses 1000 bytes of memory and may use 1000"), "{reason}");
        used.store(999, Relaxed);
        assert!(append(&db, batch(0, 10_100)).await.is_err(), "it is not measured at every request");
        tokio::time::advance(TIME_BETWEEN + Duration::from_millis(1)).await;
        append(&db, batch(0, 10_100)).await.expect("there is room again");
    });
}
