//! Writes that come while the log is still being replayed.

use std::sync::Arc;

use cairn_model::storage::{AppendError, Appendable, SeriesRequest, StoreError};
use cairn_model::{Labels, Value};
use cairn_runtime::{MemDisk, Rng};
use cairn_tsdb::Db;

use crate::support::*;

async fn append(db: &Db, n: u32, samples: &[(i64, f64)]) -> cairn_model::batch::Appended {
    let mut batch = batch_of("acme");
    batch.push_floats(labels(n).as_ref(), samples);
    db.append(batch).await.expect("the disk is fine")
}

async fn begin(disk: &MemDisk, seed: u64) -> Arc<Db> {
    Db::begin(options(), machine(disk, seed)).await.expect("the database begins")
}

fn values(contents: &Contents, n: u32) -> Vec<(i64, Value)> {
    let name = {
        let id = cairn_model::TenantId::new("acme").expect("valid");
        let external = cairn_model::external::ExternalLabels::for_tenant(&id, &Labels::empty());
        external.merge(labels(n).as_ref()).to_string()
    };
    let samples = contents.get(&name).into_iter().flatten();
    samples.map(|(t, s)| (*t, s.value.clone())).collect()
}

fn floats(samples: &[(i64, f64)]) -> Vec<(i64, Value)> {
    samples.iter().map(|(t, v)| (*t, Value::Float(*v))).collect()
}

#[test]
fn they_are_durable_at_once_and_readable_with_the_rest_once_the_replay_has_ended() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        append(&db, 1, &[(10_000, 1.0), (10_100, 2.0)]).await;
        append(&db, 2, &[(10_000, 5.0)]).await;
        disk.crash(&Rng::from_seed(1));

        let db = begin(&disk, 2).await;
        let done = append(&db, 1, &[(10_100, 2.0), (10_200, 3.0)]).await;
        assert_eq!((done.floats, done.refs.as_slice(), done.unknown.len()), (2, [0].as_slice(), 0));
        append(&db, 2, &[(10_000, 7.0)]).await;
        append(&db, 1, &[(10_000, 0.5)]).await;
        append(&db, 3, &[(10_300, 9.0)]).await;
        let request = SeriesRequest::new(i64::MIN, i64::MAX, Vec::new());
        let early = db.head_store().series(request).await.err().expect("the head lacks a part of the log");
        assert!(matches!(&early, StoreError::Unavailable { reason, .. } if reason.contains("replayed")));

        let check = |contents: &Contents| {
            assert_eq!(values(contents, 1), floats(&[(10_000, 1.0), (10_100, 2.0), (10_200, 3.0)]));
            assert_eq!(values(contents, 2), floats(&[(10_000, 7.0)]), "the greater value stays");
            assert_eq!(values(contents, 3), floats(&[(10_300, 9.0)]));
        };
        db.replay().await.unwrap();
        check(&read_all(&db).await);
        let done = append(&db, 3, &[(10_400, 1.0)]).await;
        assert_ne!(done.refs[0], 0, "from now on the head answers");
        disk.crash(&Rng::from_seed(2));
        let db = open(&disk, 3).await;
        assert_eq!(values(&read_all(&db).await, 3).len(), 2);

        // The next start does not even get to its replay.
        disk.crash(&Rng::from_seed(9));
        let db = begin(&disk, 4).await;
        append(&db, 4, &[(10_500, 4.0)]).await;
        disk.crash(&Rng::from_seed(3));
        let db = open(&disk, 5).await;
        assert_eq!(values(&read_all(&db).await, 4), floats(&[(10_500, 4.0)]));
    });
}

#[test]
fn late_ones_go_to_the_generation_that_the_log_has_come_to() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        append(&db, 1, &[(10_000, 1.0)]).await;
        append(&db, 1, &[(25_000, 2.0)]).await;
        db.seal_locally(24_000).await.unwrap();
        disk.crash(&Rng::from_seed(1));

        let db = begin(&disk, 2).await;
        append(&db, 1, &[(11_000, 3.0)]).await;
        assert!(db.closed_windows(60_000).await.unwrap().is_empty(), "nothing is closed during the replay");
        db.maintain().await;
        db.replay().await.unwrap();
        let sealed = db.closed_windows(2_000_000).await.unwrap();
        let late: Vec<_> = sealed.iter().filter(|w| w.start_ms == 10_000).map(|w| w.generation).collect();
        assert_eq!(late, [1]);
        db.seal_locally(2_000_000).await.unwrap();
        db.maintain().await;
        disk.crash(&Rng::from_seed(2));
        let db = open(&disk, 3).await;
        assert_eq!(values(&read_all(&db).await, 1), floats(&[(10_000, 1.0), (11_000, 3.0), (25_000, 2.0)]));
    });
}

#[test]
fn too_many_of_them_are_refused_until_the_replay_has_ended() {
    run(async {
        let disk = MemDisk::new();
        let db = begin(&disk, 1).await;
        let long = "x".repeat(60_000);
        let batch = |n: u32| {
            let n = n.to_string();
            let labels = Labels::from_pairs([("__name__", "m"), ("n", n.as_str()), ("text", long.as_str())]);
            let mut batch = batch_of("acme");
            batch.push_floats(labels.expect("names are unique").as_ref(), &[(10_000, 1.0)]);
            batch
        };
        let mut taken = 0;
        let refused = loop {
            match db.append(batch(taken)).await {
                Ok(_) => taken += 1,
                Err(refused) => break refused,
            }
        };
        assert!(matches!(&refused, AppendError::Unavailable { reason, .. } if reason.contains("replayed")));
        assert!((1_000..2_000).contains(&taken), "{taken} of 60 kB");
        db.replay().await.unwrap();
        assert_eq!(db.append(batch(taken)).await.unwrap().floats, 1);
        assert_eq!(db.series(), taken as usize + 1);
    });
}
