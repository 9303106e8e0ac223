//! Many requests at once, over real threads: they share fsyncs, and each keeps its promise whatever the others do.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::storage::{AppendError, Appendable};
use cairn_model::{Labels, Value};
use cairn_runtime::disk::{DiskOp, Fault};
use cairn_runtime::{Disk, MemDisk, Rng, Runtime};
use cairn_tsdb::{Db, DbOptions};
use parking_lot::Mutex;

use crate::support::*;

const WRITERS: u32 = 8;
const REQUESTS: i64 = 120;

/// Every writer meets the others on the same new series, so that definitions of one request are relied on by none
/// but itself until they are synced.
async fn write(db: Arc<Db>, writer: u32, acked: Arc<Mutex<BTreeMap<(u32, i64), f64>>>) {
    for request in 0..REQUESTS {
        let mut batch = batch_of("acme");
        let mut samples = Vec::new();
        for k in 0..3u32 {
            let n = (request as u32 + k) % 40;
            let t_ms = 1_000_000 + request * 500 + i64::from(writer) + i64::from(k) * 10;
            let value = f64::from(n) * 1e7 + t_ms as f64;
            batch.push_floats(labels(n).as_ref(), &[(t_ms, value)]);
            samples.push(((n, t_ms), value));
        }
        // A failure is the disk's; only what was acknowledged counts.
        if let Ok(done) = db.append(batch).await {
            assert!(done.rejections.is_empty() && done.unknown.is_empty(), "{done:?}");
            acked.lock().extend(samples);
        }
        if writer == 0 && request % 20 == 19 {
            let _ = db.seal_locally(1_000_000 + request * 400).await;
            db.maintain().await;
        }
    }
}

/// Runs `work` on real threads.
fn on_threads<T>(work: impl Future<Output = T>) -> T {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    tokio.expect("a runtime for a test").block_on(work)
}

#[test]
fn concurrent_requests_lose_nothing_while_syncs_fail_and_windows_are_sealed() {
    for seed in 0..12u64 {
        let disk = MemDisk::new();
        let rng = Rng::from_seed(seed);
        let (odds, dice) = (if seed % 3 == 0 { 0 } else { 25 }, rng.fork());
        disk.set_fault_hook(move |op| {
            let strikes = odds > 0 && dice.below(odds) == 0;
            let of_log = |path: &std::path::Path| path.extension().is_some_and(|e| e == "wal");
            match op {
                DiskOp::Sync(path) if strikes && of_log(path) => Some(Fault::Eio),
                DiskOp::Write(path, n) if strikes && of_log(path) => Some(Fault::ShortWrite(n / 3)),
                _ => None,
            }
        });
        let acked = Arc::new(Mutex::new(BTreeMap::new()));
        let options = DbOptions { wal_segment_bytes: 3_000, ..options() };
        on_threads(async {
            let runtime = Runtime { disk: Arc::new(disk.clone()), ..Runtime::system(2) };
            let Ok(db) = Db::open(options.clone(), runtime).await else { return };
            let writers = (0..WRITERS).map(|w| tokio_spawn(write(db.clone(), w, acked.clone())));
            for writer in writers.collect::<Vec<_>>() {
                writer.await.expect("a writer ends");
            }
            disk.crash(&rng);
        });
        disk.clear_faults();
        run(async {
            let db = open_with(options, &disk, seed).await;
            let contents = read_all(&db).await;
            let id = cairn_model::TenantId::new("acme").expect("valid");
            let external = cairn_model::external::ExternalLabels::for_tenant(&id, &Labels::empty());
            let acked = acked.lock();
            assert!(acked.len() > 500, "only {} samples were acknowledged, seed {seed}", acked.len());
            for ((n, t), value) in acked.iter() {
                let name = external.merge(labels(*n).as_ref()).to_string();
                let found = contents.get(&name).and_then(|s| s.get(t));
                let found = found.unwrap_or_else(|| panic!("{name} at {t} is missing, seed {seed}"));
                assert_eq!(found.value, Value::Float(*value));
            }
        });
    }
}

/// Appends until the database takes no more.
async fn write_until_closed(db: Arc<Db>, writer: u32, acked: Arc<Mutex<BTreeMap<(u32, i64), f64>>>) {
    for request in 0.. {
        let mut batch = batch_of("acme");
        let t_ms = 1_000_000 + request;
        batch.push_floats(labels(writer).as_ref(), &[(t_ms, request as f64)]);
        match db.append(batch).await {
            Ok(_) => acked.lock().insert((writer, t_ms), request as f64),
            Err(AppendError::ShuttingDown) => return,
            Err(e) => panic!("nothing else is wrong: {e}"),
        };
    }
}

/// The thread that writes the log may have a group in its hands when the log is closed: it is written and acknowledged
/// or neither, and never to a second file of the segment's number.
#[test]
fn closing_the_log_under_load_keeps_what_was_acknowledged_in_one_file_a_segment() {
    for round in 0..40u64 {
        let disk = MemDisk::new();
        let acked = Arc::new(Mutex::new(BTreeMap::new()));
        let options = DbOptions { wal_segment_bytes: 2_000, ..options() };
        on_threads(async {
            let runtime = Runtime { disk: Arc::new(disk.clone()), ..Runtime::system(2) };
            let db = Db::open(options.clone(), runtime).await.expect("the disk is fine");
            let writers: Vec<_> =
                (0..WRITERS).map(|w| tokio_spawn(write_until_closed(db.clone(), w, acked.clone()))).collect();
            while (acked.lock().len() as u64) < round * 5 {
                tokio::task::yield_now().await;
            }
            db.shutdown();
            for writer in writers {
                writer.await.expect("a writer ends");
            }
            disk.crash(&Rng::from_seed(round));
        });
        let segments = disk.list(std::path::Path::new("/data/wal")).expect("the folder is there");
        let numbers: Vec<_> = segments.iter().map(|s| s.name[..10].to_owned()).collect();
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]), "two files of one segment: {numbers:?}");
        run(async {
            let db = open_with(options, &disk, round).await;
            let found: usize = read_all(&db).await.values().map(|samples| samples.len()).sum();
            let acked = acked.lock().len();
            assert!(found >= acked, "{acked} were acknowledged, {found} are there, round {round}");
        });
    }
}

/// Writers and housekeeping take locks of the same things; segments come and go with every few requests, so they meet.
#[test]
fn housekeeping_beside_writers_ends() {
    for round in 0..20u64 {
        let disk = MemDisk::new();
        let acked = Arc::new(Mutex::new(BTreeMap::new()));
        let options = DbOptions { wal_segment_bytes: 200, ..options() };
        let read = on_threads(async {
            let runtime = Runtime { disk: Arc::new(disk.clone()), ..Runtime::system(2) };
            let db = Db::open(options.clone(), runtime).await.expect("the disk is fine");
            let writers: Vec<_> =
                (0..WRITERS).map(|w| tokio_spawn(write(db.clone(), w, acked.clone()))).collect();
            while writers.iter().any(|w| !w.is_finished()) {
                db.maintain().await;
                tokio::task::yield_now().await;
            }
            for writer in writers {
                writer.await.expect("a writer ends");
            }
            read_all(&db).await
        });
        let found: usize = read.values().map(|samples| samples.len()).sum();
        assert_eq!(found, acked.lock().len(), "round {round}");
    }
}

#[allow(clippy::disallowed_methods)] // a test of real threads, outside of any simulation
fn tokio_spawn(work: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(work)
}
