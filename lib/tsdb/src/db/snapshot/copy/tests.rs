//! How long a copy keeps requests from their turn: counted in series and label pairs, not in time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use cairn_model::{Labels, TenantId, WriteBatch};
use cairn_runtime::{MemDisk, Runtime, TcpNet};
use futures::poll;

use super::*;
use crate::DbOptions;
use crate::head::partition::Verdicts;
use crate::head::state::Split;

/// Three turns and one that is not full.
const SERIES: u32 = 3 * TURN_SERIES + 7;

/// How often they are written: in more turns than there should be.
const WRITES: usize = 10;

fn at_ms(turn: usize) -> i64 {
    1_000_000 + turn as i64
}

async fn open(disk: &MemDisk, seed: u64) -> Arc<Db> {
    // Computations run inline, so that a copy waits for nothing but its next turn.
    let runtime = Runtime::simulated(seed, 1_000_000, Arc::new(TcpNet), Arc::new(disk.clone()));
    let options = DbOptions { partitions: 1, ..DbOptions::new("/data") };
    Db::open(options, runtime).await.expect("the database opens")
}

/// Gives every series a sample of `turn`, in memory only: the log knows nothing of it.
fn write(db: &Db, turn: usize) {
    let tenant = db.head.tenants.get_or_add(&TenantId::default_tenant());
    let mut batch = WriteBatch::new(tenant.id.clone());
    for n in 0..SERIES {
        let labels = Labels::from_pairs([("n", n.to_string().as_str())]).expect("one name");
        batch.push_floats(labels.as_ref(), &[(at_ms(turn), turn as f64)]);
    }
    db.head.apply(&tenant, &batch, 1, &mut Split::default(), &mut Verdicts::default());
}

/// Runs `work` with `between` in each pause that it makes, and gives how many those were.
async fn with_pauses<T>(work: impl Future<Output = T>, mut between: impl FnMut(usize)) -> (T, usize) {
    let (mut work, mut pauses) = (pin!(work), 0);
    loop {
        if let Poll::Ready(done) = poll!(work.as_mut()) {
            return (done, pauses);
        }
        pauses += 1;
        between(pauses);
        tokio::task::yield_now().await;
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    tokio.expect("a runtime for a test").block_on(work)
}

#[test]
fn requests_have_their_turn_after_so_many_series() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        write(&db, 0);
        let writing = |pauses| {
            if pauses < WRITES {
                write(&db, pauses);
            }
        };
        let (taken, _) = with_pauses(db.take_snapshot(), writing).await;
        assert!(taken.expect("the disk is fine"));
        db.shutdown();
        // What the next start has of a series says in which turn it was copied: how often it had been written before.
        let db = open(&disk, 2).await;
        let partition = db.head.partitions[0].read();
        let mut copied_in = BTreeMap::<usize, u32>::new();
        for slot in 0..partition.slots_end() {
            let written = |turn: &usize| partition.has_data(slot, (at_ms(*turn), i64::MAX));
            *copied_in.entry((0..WRITES).take_while(written).count()).or_default() += 1;
        }
        let series: Vec<u32> = copied_in.into_values().collect();
        assert_eq!(series, [TURN_SERIES, TURN_SERIES, TURN_SERIES, 7]);
    });
}

#[test]
fn requests_have_their_turn_after_so_many_label_pairs() {
    run(async {
        let db = open(&MemDisk::new(), 1).await;
        write(&db, 0);
        let dir = db.options.dir.join(crate::db::snapshot::SNAPSHOT_DIR);
        let writer = db.begin_file(&dir, "test".to_owned(), Vec::new()).await.expect("the disk is fine");
        let (copied, pauses) = with_pauses(db.copy_labels(0, 0, writer), |_| {}).await;
        copied.expect("the disk is fine");
        assert_eq!(pauses, SERIES.div_ceil(SLICE_PAIRS) as usize);
    });
}
