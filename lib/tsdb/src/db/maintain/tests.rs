//! One head-chunk file at a time, whoever writes: of two who wrote the same one, the second would cut it while the first
//! has it mapped; one that is written after its window was released would stay.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc;

use cairn_model::{Encoding, TenantId};
use cairn_runtime::disk::DiskOp;
use cairn_runtime::{CpuPool, MemDisk, Runtime, TcpNet};
use parking_lot::Mutex;

use super::*;
use crate::DbOptions;

const KEY: PartKey = PartKey { window: 5, generation: 0 };

/// A database with chunks of a window that wait to become a file, in each of two partitions.
async fn with_unwritten_files(disk: &MemDisk) -> (Arc<Db>, Arc<Tenant>) {
    let runtime = Runtime::simulated(1, 1_000_000, Arc::new(TcpNet), Arc::new(disk.clone()));
    // With threads, so that a writer waits for its file and others come meanwhile.
    let runtime = Runtime { cpu: CpuPool::threads(1), ..runtime };
    let options = DbOptions { partitions: 2, ..DbOptions::new("/data") };
    let db = Db::open(options, runtime).await.expect("the database opens");
    let tenant = db.head.tenants.get_or_add(&TenantId::default_tenant());
    for partition in &db.head.partitions {
        let full = &mut partition.write().chunks.full;
        full.push(0, (tenant.number, KEY.window), 0, (1, 2), Encoding::Xor, b"chunk");
        full.cut_file();
    }
    (db, tenant)
}

/// Keeps the place of background work until the sender says something or is gone.
async fn occupy(db: &Db, until: mpsc::Receiver<()>) {
    let _ = db.runtime.cpu.run_behind(move || until.recv()).await;
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    tokio.expect("a runtime for a test").block_on(work)
}

fn head_files(disk: &MemDisk) -> Vec<PathBuf> {
    let dir = Path::new("/data").join(HEAD_DIR);
    disk.list(&dir).expect("the folder is there").into_iter().map(|e| dir.join(e.name)).collect()
}

#[test]
fn a_head_chunk_file_is_written_once_however_many_ask() {
    run(async {
        let disk = MemDisk::new();
        let (db, _) = with_unwritten_files(&disk).await;
        let opened = Arc::new(Mutex::new(BTreeMap::<PathBuf, usize>::new()));
        let seen = opened.clone();
        disk.set_fault_hook(move |op| {
            if let DiskOp::Open(path) = op
                && path.extension().is_some_and(|e| e == "chunks")
            {
                *seen.lock().entry(path.clone()).or_default() += 1;
            }
            None
        });
        // All of them ask before the first file can be written.
        let (go, until) = mpsc::channel();
        let (.., snapshot, ()) = tokio::join!(
            biased;
            occupy(&db, until),
            db.write_full_chunks(),
            db.maintain(),
            db.settle_head_files(),
            async move { drop(go) },
        );
        assert_eq!(snapshot.expect("the disk is fine").len(), 2);
        let files = head_files(&disk);
        assert_eq!(files.len(), 2);
        assert_eq!(*opened.lock(), files.into_iter().map(|path| (path, 1)).collect());
        db.shutdown();
    });
}

#[test]
fn a_file_that_is_released_while_it_is_written_does_not_stay() {
    run(async {
        let disk = MemDisk::new();
        let (db, tenant) = with_unwritten_files(&disk).await;
        let release = PendingRelease { tenant, key: KEY, readers: Arc::default() };
        db.pending_releases.lock().push(release);
        let (go, until) = mpsc::channel();
        let (.., waiting) = tokio::join!(
            biased;
            occupy(&db, until),
            db.write_full_chunks(),
            db.apply_releases(),
            async {
                drop(go);
                db.pending_releases.lock().len()
            },
        );
        assert_eq!(waiting, 1, "a release begins when no file is being written");
        assert!(db.pending_releases.lock().is_empty());
        assert_eq!(head_files(&disk), Vec::<PathBuf>::new());
        db.shutdown();
    });
}
