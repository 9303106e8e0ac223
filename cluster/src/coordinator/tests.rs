//! One voter on a disk in memory, with crashes between its lives.

use super::*;
use cairn_runtime::{MemDisk, Rng, TcpNet};

fn options() -> ClusterOptions {
    ClusterOptions { data_dir: "/data".into(), peer_address: "127.0.0.1:10900".into(), zone: String::new() }
}

fn runtime(seed: u64, disk: &MemDisk) -> Runtime {
    Runtime::simulated(seed, 1_700_000_000_000, Arc::new(TcpNet), Arc::new(disk.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_fresh_folder_founds_a_cluster_that_owns_every_slot() {
    let disk = MemDisk::new();
    let c = RaftCoordinator::start(&runtime(1, &disk), &options()).await.unwrap();
    let placement = c.placement();
    assert_eq!(placement.validate(), Ok(()));
    assert!((0..crate::SLOTS).all(|s| placement.owners(s) == [c.this_node()]));
    c.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tokens_grow_over_restarts_and_crashes_and_old_ones_are_fenced() {
    let disk = MemDisk::new();
    let (mut last, mut epoch) = (Token::default(), None);
    for life in 0..5 {
        let rt = runtime(life, &disk);
        let c = RaftCoordinator::start(&rt, &options()).await.unwrap();
        if last != Token::default() {
            c.check("compactor", last).expect("an assignment survives a crash");
        }
        assert_eq!(*epoch.get_or_insert(c.placement().epoch), c.placement().epoch);
        for _ in 0..300 {
            let token = c.assign("compactor").await.unwrap();
            assert!(token > last);
            assert!(matches!(c.check("compactor", last), Err(ClusterError::Fenced { .. })));
            c.check("compactor", token).unwrap();
            last = token;
        }
        disk.crash(&Rng::from_seed(life)); // the coordinator of this life can write nothing any more
        let _ = c.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn released_work_is_nobodys() {
    let disk = MemDisk::new();
    let c = RaftCoordinator::start(&runtime(1, &disk), &options()).await.unwrap();
    let token = c.assign("job").await.unwrap();
    c.release("job", token).await.unwrap();
    assert!(c.check("job", token).is_err());
    c.release("job", token).await.unwrap();
    c.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_damaged_identity_ends_the_start_with_the_next_step() {
    let disk = MemDisk::new();
    use cairn_runtime::Disk as _;
    disk.create_dir_all("/data".as_ref()).unwrap();
    disk.write_atomic("/data/node.json".as_ref(), b"{").unwrap();
    let e = RaftCoordinator::start(&runtime(1, &disk), &options()).await.err().unwrap().to_string();
    assert!(e.contains("/data/node.json is damaged") && e.contains("backup"), "{e}");
}

/// openraft's own suite for stores, over ours.
mod store_suite {
    use super::*;
    use openraft::testing::log::{StoreBuilder, Suite};

    struct OnMemDisk;

    impl StoreBuilder<RaftTypes, LogStore, StateMachine> for OnMemDisk {
        async fn build(&self) -> Result<((), LogStore, StateMachine), openraft::StorageError<RaftTypes>> {
            let disk: Arc<dyn cairn_runtime::Disk> = Arc::new(MemDisk::new());
            let cpu = cairn_runtime::CpuPool::inline();
            let log = LogStore::open(disk.clone(), "/raft".as_ref(), cpu.clone()).expect("opens");
            let machine = StateMachine::open(disk, "/raft".as_ref(), cpu).expect("opens");
            Ok(((), log, machine))
        }
    }

    #[tokio::test]
    async fn passes() {
        RaftRuntime::scope(1, Suite::test_all(OnMemDisk)).await.unwrap();
    }
}
