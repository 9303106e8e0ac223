//! The commit protocol, whole, over a store that refuses, tears uploads, loses answers and dies.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_bucket::clean::{Cleaner, DELETE_DELAY, ORPHAN_AGE};
use cairn_bucket::fault::{FaultRates, FaultStore};
use cairn_bucket::{
    BlockSource, Bucket, BucketSettings, Committed, Committer, Fetcher, Job, SourceFile, layout, marks,
};
use cairn_model::{Labels, TenantId};
use cairn_runtime::{MemDisk, Runtime, TcpNet};
use cairn_tsdb::meta::{BlockMeta, ThanosMeta};
use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use ulid::Ulid;

/// Objects in memory get the machine's time; the cleaner's clock runs this much later.
const LATER: Duration = Duration::from_secs(ORPHAN_AGE.as_secs() + 24 * 3600);

fn runtime(seed: u64) -> Runtime {
    Runtime::simulated(seed, 1_700_000_000_000, Arc::new(TcpNet), Arc::new(MemDisk::new()))
}

fn committer(store: Arc<dyn ObjectStore>, seed: u64) -> Committer {
    let runtime = runtime(seed);
    let settings = BucketSettings { part_bytes: Some(700), ..BucketSettings::named("test") };
    Committer::new(Bucket::new(store, settings, &runtime), runtime)
}

fn job() -> Job {
    Job::upload(&TenantId::new("acme").unwrap(), "g0", 0, 7_200_000, 0)
}

fn source() -> BlockSource {
    let file = |rel_path: &str, n: usize| SourceFile {
        rel_path: rel_path.to_owned(),
        content: (0..n).map(|i| (i * 31 % 251) as u8).collect::<Vec<u8>>().into(),
    };
    let labels = Labels::from_pairs([("tenant_id", "acme")]).unwrap();
    let mut meta = BlockMeta::new(Ulid::from_parts(1, 1), 0, 7_200_000);
    meta.thanos = Some(ThanosMeta::raw(&labels, "receive"));
    BlockSource {
        files: vec![file("chunks/000001", 2_000), file("index", 300)],
        make_meta: cairn_bucket::ship::describe(&meta, &job(), cairn_bucket::ship::Source::Receive, 0)
            .unwrap(),
    }
}

async fn assert_whole(store: &dyn ObjectStore, ulid: Ulid) {
    for f in source().files {
        let got = store.get(&layout::in_block(ulid, &f.rel_path)).await.unwrap().bytes().await.unwrap();
        assert_eq!(got, f.content, "{}", f.rel_path);
    }
    let meta = store.get(&layout::meta(ulid)).await.unwrap().bytes().await.unwrap();
    assert_eq!(BlockMeta::read(&meta).unwrap().ulid, ulid);
}

/// ULIDs of folders, and of those with a `meta.json`.
async fn folders(store: Arc<dyn ObjectStore>) -> (BTreeSet<Ulid>, BTreeSet<Ulid>) {
    let bucket = Bucket::new(store, BucketSettings::named("look"), &runtime(0));
    let view = Fetcher::new(bucket).look().await.unwrap();
    (view.folders.keys().copied().collect(), view.blocks.keys().copied().collect())
}

async fn clean(store: Arc<dyn ObjectStore>) -> usize {
    let runtime = runtime(0);
    let bucket = Bucket::new(store, BucketSettings::named("clean"), &runtime);
    let view = Fetcher::new(bucket.clone()).look().await.unwrap();
    let newest_ms = view.folders.values().map(|f| f.newest_ms).max().unwrap_or(0);
    let cleaner = Cleaner::new(bucket, DELETE_DELAY, &runtime.metrics);
    cleaner.clean(&view, newest_ms + LATER.as_millis() as i64).await.unwrap().len()
}

#[tokio::test]
async fn a_commit_makes_one_block_and_repeating_it_changes_nothing() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let c = committer(store.clone(), 1);
    let first = c.commit(&job(), Some(&source())).await.unwrap();
    let Committed::Block { ulid, record, holds_source: true } = &first else { panic!("{first:?}") };
    assert_whole(store.as_ref(), *ulid).await;
    assert_eq!(c.verified(&job()).await.unwrap().as_ref(), Some(record));
    assert_eq!(c.commit(&job(), Some(&source())).await.unwrap(), first);
    let without = c.commit(&job(), None).await.unwrap();
    assert!(
        matches!(&without, Committed::Block { ulid: u, .. } if u == ulid),
        "an owner without data finds it"
    );
    assert!(c.may_release(&job()).await.unwrap());
    let mut other = source();
    other.files[0].content = "other data of the same window".into();
    let found = c.commit(&job(), Some(&other)).await.unwrap();
    assert!(
        matches!(&found, Committed::Block { ulid: u, holds_source: false, .. } if u == ulid),
        "who has other data learns that the block does not hold it"
    );
    assert_eq!(folders(store).await.0.len(), 1);
}

#[tokio::test]
async fn nothing_to_commit_is_committed_too() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let c = committer(store.clone(), 1);
    assert!(!c.may_release(&job()).await.unwrap());
    assert_eq!(c.commit(&job(), None).await.unwrap(), Committed::Nothing);
    assert_eq!(c.commit(&job(), Some(&source())).await.unwrap(), Committed::Nothing, "the record decides");
    assert!(folders(store).await.0.is_empty());
}

#[tokio::test]
async fn an_attempt_killed_at_any_call_is_finished_by_the_next() {
    let counting = FaultStore::new(Arc::new(InMemory::new()), FaultRates::NONE, 0);
    committer(Arc::new(counting.clone()), 1).commit(&job(), Some(&source())).await.unwrap();
    let calls = counting.calls();
    assert!(calls > 10, "only {calls} calls");
    for k in 0..calls {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let dying = FaultStore::new(store.clone(), FaultRates::NONE, k);
        dying.die_after(Some(k));
        assert!(committer(Arc::new(dying), 2).commit(&job(), Some(&source())).await.is_err());
        let done = committer(store.clone(), 3).commit(&job(), Some(&source())).await.unwrap();
        let Committed::Block { ulid, .. } = done else { panic!("call {k}: {done:?}") };
        assert_whole(store.as_ref(), ulid).await;
        assert_eq!(folders(store.clone()).await.1, BTreeSet::from([ulid]), "call {k}");
        clean(store.clone()).await;
        assert_eq!(folders(store.clone()).await.0, BTreeSet::from([ulid]), "call {k}: orphans are swept");
        assert_whole(store.as_ref(), ulid).await;
    }
}

#[tokio::test]
async fn racing_attempts_over_a_rough_store_end_in_one_block() {
    let (mut injected, mut races) = (0, 0);
    for seed in 0..150 {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let faulty: Vec<FaultStore> =
            (0..3).map(|i| FaultStore::new(store.clone(), FaultRates::ROUGH, seed * 10 + i)).collect();
        let attempts = faulty.iter().enumerate().map(|(i, f)| {
            let c = committer(Arc::new(f.clone()), seed * 10 + 5 + i as u64);
            async move {
                // As the shipper's loop does, a few times.
                for _ in 0..4 {
                    if let Ok(Committed::Block { ulid, .. }) = c.commit(&job(), Some(&source())).await {
                        return Some(ulid);
                    }
                }
                None
            }
        });
        let done: BTreeSet<Ulid> = join_all(attempts).await.into_iter().flatten().collect();
        let (all, blocks) = folders(store.clone()).await;
        assert!(blocks.len() <= 1 && done.len() <= 1, "seed {seed}: {blocks:?} {done:?}");
        assert!(done.is_subset(&blocks), "seed {seed}: what was called done is there");
        injected += faulty.iter().map(FaultStore::injected).sum::<u64>();
        races += usize::from(all.len() > 1);

        let healed = committer(store.clone(), 77).commit(&job(), Some(&source())).await.unwrap();
        let Committed::Block { ulid, .. } = healed else { panic!("seed {seed}: {healed:?}") };
        assert!(done.iter().all(|d| *d == ulid), "seed {seed}");
        clean(store.clone()).await;
        assert_eq!(folders(store.clone()).await.0, BTreeSet::from([ulid]), "seed {seed}");
        assert_whole(store.as_ref(), ulid).await;
    }
    assert!(injected > 300 && races > 20, "{injected} faults, {races} seeds with more than one folder");
}

#[tokio::test]
async fn damaged_files_are_superseded_and_the_damaged_folder_is_swept() {
    for victim in ["index", "chunks/000001", "meta.json"] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let c = committer(store.clone(), 1);
        let Committed::Block { ulid: old, .. } = c.commit(&job(), Some(&source())).await.unwrap() else {
            panic!("no block")
        };
        store.put(&layout::in_block(old, victim), "rotten".into()).await.unwrap();
        assert_eq!(c.verified(&job()).await.unwrap(), None, "nobody lets go of a local copy for {victim}");
        let Committed::Block { ulid: new, .. } = c.commit(&job(), Some(&source())).await.unwrap() else {
            panic!("no block")
        };
        assert_ne!(old, new);
        assert_whole(store.as_ref(), new).await;
        assert_eq!(
            folders(store.clone()).await.1,
            BTreeSet::from([new]),
            "{victim}: the old meta is withdrawn"
        );
        assert_eq!(clean(store.clone()).await, 1);
        assert_eq!(folders(store.clone()).await.0, BTreeSet::from([new]));
    }
}

#[tokio::test]
async fn a_block_deleted_on_purpose_is_not_made_again() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let c = committer(store.clone(), 1);
    let Committed::Block { ulid, .. } = c.commit(&job(), Some(&source())).await.unwrap() else {
        panic!("no block")
    };
    let now_ms = chrono_free_now(store.as_ref(), ulid).await;
    marks::mark_for_deletion(c.bucket(), ulid, "replaced", now_ms).await.unwrap();
    assert!(
        matches!(c.commit(&job(), Some(&source())).await.unwrap(), Committed::Block { .. }),
        "still there"
    );
    assert_eq!(clean(store.clone()).await, 1);
    assert!(folders(store.clone()).await.0.is_empty());
    assert_eq!(c.commit(&job(), Some(&source())).await.unwrap(), Committed::Retired);
    assert!(c.may_release(&job()).await.unwrap() && c.verified(&job()).await.unwrap().is_none());
    assert!(folders(store).await.0.is_empty());
}

/// The store's own time of a block, so that no clock of the machine is asked.
async fn chrono_free_now(store: &dyn ObjectStore, ulid: Ulid) -> i64 {
    store.head(&layout::meta(ulid)).await.unwrap().last_modified.timestamp_millis()
}

#[tokio::test]
async fn a_clean_killed_at_any_call_is_finished_by_the_next() {
    for k in 0..20 {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let c = committer(store.clone(), 1);
        let Committed::Block { ulid, .. } = c.commit(&job(), Some(&source())).await.unwrap() else {
            panic!("no block")
        };
        let now_ms = chrono_free_now(store.as_ref(), ulid).await;
        marks::mark_for_deletion(c.bucket(), ulid, "replaced", now_ms).await.unwrap();
        let dying = FaultStore::new(store.clone(), FaultRates::NONE, k);
        let runtime = runtime(k);
        let bucket = Bucket::new(Arc::new(dying.clone()), BucketSettings::named("dying"), &runtime);
        let view = Fetcher::new(bucket.clone()).look().await.unwrap();
        dying.die_after(Some(k));
        let cleaner = Cleaner::new(bucket, DELETE_DELAY, &runtime.metrics);
        // Dead half-way: an error or a shorter list of what was removed.
        let _ = cleaner.clean(&view, now_ms + LATER.as_millis() as i64).await;
        let (_, blocks) = folders(store.clone()).await;
        for left in &blocks {
            assert_whole(store.as_ref(), *left).await;
        }
        // Between two passes nobody makes it again.
        let again = c.commit(&job(), Some(&source())).await.unwrap();
        assert!(matches!(again, Committed::Retired) || !blocks.is_empty(), "call {k}: {again:?}");
        clean(store.clone()).await;
        assert!(folders(store).await.0.is_empty(), "call {k}");
    }
}
