//! Windows from their end to their block, and series from their last sample out of memory.

use std::sync::Arc;

use cairn_model::batch::{BatchSeries, RejectReason};
use cairn_model::exemplar::Exemplar;
use cairn_model::metadata::{Metadata, MetricType};
use cairn_model::storage::{Appendable, LabelsRequest, SeriesRequest};
use cairn_model::tenant::TenantScope;
use cairn_model::{Labels, MatchOp, Matcher, TenantId, Value};
use cairn_runtime::{MemDisk, Rng};
use cairn_tsdb::db::seal::window_of_block;
use cairn_tsdb::{Db, DbOptions};
use futures::{StreamExt, TryStreamExt};

use crate::support::*;

async fn append(db: &Db, n: u32, samples: &[(i64, f64)]) {
    let mut batch = batch_of("acme");
    batch.push_floats(labels(n).as_ref(), samples);
    let done = db.append(batch).await.expect("the disk is fine");
    assert!(done.rejections.is_empty(), "{done:?}");
}

#[test]
fn late_samples_go_to_the_next_generation_and_into_a_block_of_their_own() {
    run(async {
        let db = open(&MemDisk::new(), 1).await;
        append(&db, 1, &[(10_000, 1.0), (19_999, 2.0)]).await;
        assert!(db.closed_windows(22_999).await.unwrap().is_empty(), "3 s after its end");
        let first = db.closed_windows(23_000).await.unwrap();
        assert_eq!(
            (first.len(), first[0].start_ms, first[0].end_ms, first[0].generation),
            (1, 10_000, 20_000, 0)
        );
        append(&db, 1, &[(15_000, 9.0)]).await;
        append(&db, 2, &[(16_000, 8.0)]).await;
        let block = db.cut(&first[0]).await.unwrap().expect("it has samples");
        assert_eq!((block.stats.num_series, block.stats.num_samples), (1, 2));
        assert_eq!(window_of_block(&block).as_ref(), Some(&first[0]));
        assert_eq!(db.cut(&first[0]).await.unwrap().expect("found again").ulid, block.ulid);
        assert_eq!(
            db.closed_windows(99_000).await.unwrap(),
            first,
            "one sealed generation a window at a time"
        );
        db.release(&first[0]).await.unwrap();
        db.maintain().await;
        // The release happened at the machine's time, which is far behind the samples'.
        let second = db.closed_windows(2_000_000).await.unwrap();
        assert_eq!((second.len(), second[0].start_ms, second[0].generation), (1, 10_000, 1));
        let block = db.cut(&second[0]).await.unwrap().expect("it has samples");
        assert_eq!((block.stats.num_series, block.stats.num_samples), (2, 2));
        db.release(&second[0]).await.unwrap();
        db.maintain().await;
        assert_eq!(db.series(), 0, "everything is in blocks");
        assert_eq!(read_all(&db).await.values().map(|s| s.len()).sum::<usize>(), 4);
    });
}

#[test]
fn a_series_without_samples_leaves_memory_and_its_reference_is_unknown() {
    run(async {
        let db = open(&MemDisk::new(), 1).await;
        let mut batch = batch_of("acme");
        batch.push_floats(labels(1).as_ref(), &[(10_000, 1.0)]);
        let reference = db.append(batch).await.unwrap().refs[0];
        append(&db, 2, &[(10_000, 1.0), (30_000, 1.0)]).await;
        let tenant = TenantId::new("acme").unwrap();
        assert_eq!(db.tenant_series(&tenant), 2);
        db.seal_locally(24_000).await.unwrap();
        db.maintain().await;
        assert_eq!((db.tenant_series(&tenant), db.series()), (1, 1));
        let by_reference = |labels: &[u8]| {
            let mut batch = batch_of("acme");
            batch.arena.extend_from_slice(labels);
            batch.floats.t_ms.push(31_000);
            batch.floats.value.push(5.0);
            let hash = crate::support::labels(1).hash_with_prefix("acme");
            let labels = 0..labels.len() as u32;
            batch.series.push(BatchSeries {
                known_ref: reference,
                hash,
                labels,
                floats: 0..1,
                ..Default::default()
            });
            batch
        };
        let done = db.append(by_reference(&[])).await.unwrap();
        assert_eq!((done.unknown, done.floats), (vec![0], 0));
        let done = db.append(by_reference(labels(1).as_bytes())).await.unwrap();
        assert_eq!((done.unknown.len(), done.floats), (0, 1));
        assert_ne!(done.refs[0], reference);
    });
}

#[test]
fn nothing_is_released_under_a_read_that_began_before() {
    run(async {
        let db = open(&MemDisk::new(), 1).await;
        for n in 0..600 {
            append(&db, n, &[(10_000, 1.0)]).await;
        }
        let request = SeriesRequest::new(0, 99_999, vec![]);
        let mut reading = db.head_store().series(request).await.unwrap();
        let mut seen = reading.next().await.unwrap().unwrap().len();
        db.seal_locally(24_000).await.unwrap();
        db.maintain().await;
        seen += reading.try_fold(0, |n, batch| async move { Ok(n + batch.len()) }).await.unwrap();
        assert_eq!(seen, 600);
        assert_eq!(db.series(), 600);
        db.maintain().await;
        assert_eq!(db.series(), 0, "the read has ended");
    });
}

#[test]
fn log_segments_go_when_everything_in_them_is_in_blocks() {
    run(async {
        let disk = MemDisk::new();
        let options = DbOptions { wal_segment_bytes: 2_000, ..options() };
        let db = open_with(options.clone(), &disk, 1).await;
        let segments = |disk: &MemDisk| {
            use cairn_runtime::Disk;
            disk.list("/data/wal".as_ref()).unwrap().len()
        };
        for round in 0..200i64 {
            let mut batch = batch_of("acme");
            for n in 0..20 {
                batch.push_floats(
                    labels(n).as_ref(),
                    &[(10_000 + round * 400, (round * 7 + i64::from(n)) as f64)],
                );
            }
            db.append(batch).await.unwrap();
        }
        let before = segments(&disk);
        assert!(before > 5, "{before}");
        db.seal_locally(80_000).await.unwrap();
        db.maintain().await;
        let after = segments(&disk);
        assert!(after < before / 2, "{after} of {before} segments left");
        let contents = read_all(&db).await;
        disk.crash(&Rng::from_seed(1));
        let db = open_with(options, &disk, 2).await;
        assert_same(&read_all(&db).await, &contents, "after a crash");
    });
}

#[test]
fn limits_refuse_new_series_only() {
    run(async {
        let options = DbOptions { series_limit: Arc::new(|_| 2), ..options() };
        let db = open_with(options, &MemDisk::new(), 1).await;
        let mut batch = batch_of("acme");
        for n in 0..3 {
            batch.push_floats(labels(n).as_ref(), &[(10_000, 1.0)]);
        }
        let done = db.append(batch).await.unwrap();
        assert_eq!((done.floats, done.rejections.len(), done.refs[2]), (2, 1, 0));
        assert_eq!(done.rejections[0].reason, RejectReason::SeriesLimit { limit: 2 });
        assert_eq!(&*done.rejections[0].labels, labels(2).to_string());
        append(&db, 1, &[(11_000, 1.0)]).await;
        let mut other = batch_of("umbrella");
        other.push_floats(labels(7).as_ref(), &[(10_000, 1.0)]);
        assert_eq!(db.append(other).await.unwrap().floats, 1, "limits are a tenant's own");
    });
}

#[test]
fn labels_exemplars_and_metadata_survive_a_restart_and_respect_tenants() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        let exemplar =
            Exemplar { labels: Labels::from_pairs([("trace_id", "x")]).unwrap(), value: 0.5, t_ms: 10_000 };
        let metadata =
            Metadata { metric_type: MetricType::Counter, unit: "s".into(), help: "Things.".into() };
        for tenant in ["acme", "umbrella"] {
            let mut batch = batch_of(tenant);
            batch.push_floats(labels(1).as_ref(), &[(10_000, 1.0)]);
            batch.exemplars.push(exemplar.clone());
            batch.series[0].exemplars = 0..1;
            batch.metadata.push((format!("of_{tenant}"), metadata.clone()));
            assert_eq!(db.append(batch).await.unwrap().exemplars, 1);
        }
        disk.crash(&Rng::from_seed(1));
        let db = open(&disk, 2).await;
        let store = db.head_store();
        let acme = TenantScope::Only(vec![TenantId::new("acme").unwrap()]);
        let any = vec![vec![Matcher::equal("n", "1")]];
        assert_eq!(store.exemplars(&TenantScope::All, &any, 0, 20_000).await.unwrap().len(), 2);
        let mine = store.exemplars(&acme, &any, 0, 20_000).await.unwrap();
        assert_eq!((mine.len(), mine[0].0.get("tenant_id")), (1, Some("acme")));
        assert_eq!(mine[0].1, std::slice::from_ref(&exemplar));
        assert_eq!(store.metadata(&acme, None).await.unwrap(), [("of_acme".to_owned(), metadata)]);
        let request =
            |matchers| LabelsRequest { tenants: acme.clone(), ..LabelsRequest::new(0, 99_999, matchers) };
        let values = store.label_values("tenant_id", request(vec![])).await.unwrap().values;
        assert_eq!(values, ["acme"]);
        let names = store.label_names(request(vec![Matcher::equal("job", "job_1")])).await.unwrap().values;
        assert_eq!(names, ["__name__", "job", "n", "tenant_id"]);
        assert!(
            store
                .label_values("job", request(vec![Matcher::equal("n", "9")]))
                .await
                .unwrap()
                .values
                .is_empty()
        );
    });
}

#[test]
fn matchers_select_as_a_scan_of_all_series_does() {
    run(async {
        let db = open(&MemDisk::new(), 1).await;
        for n in 0..60 {
            append(&db, n, &[(10_000, 1.0)]).await;
        }
        let mut bare = batch_of("acme");
        bare.push_floats(Labels::from_pairs([("__name__", "bare")]).unwrap().as_ref(), &[(10_000, 1.0)]);
        db.append(bare).await.unwrap();
        let all: Vec<Labels> = select(&db, vec![]).await;
        assert_eq!(all.len(), 61);
        use MatchOp::*;
        let one = |op, name: &str, value: &str| Matcher::new(op, name, value).unwrap();
        let matchers = [
            one(Equal, "job", "job_1"),
            one(Equal, "job", ""),
            one(NotEqual, "job", ""),
            one(NotEqual, "job", "job_1"),
            one(Regex, "job", "job_1|job_3"),
            one(NotRegex, "job", "job_1|job_3"),
            one(Regex, "n", "1.*"),
            one(NotRegex, "n", "1.*"),
            one(Regex, "n", ".*"),
            one(Regex, "n", ".+"),
            one(NotRegex, "n", ".+"),
            one(NotRegex, "n", ".*"),
            one(Regex, "n", "|7"),
            one(NotRegex, "n", "|7"),
            one(Equal, "tenant_id", "acme"),
            one(NotEqual, "tenant_id", "acme"),
            one(Equal, "absent", ""),
            one(NotEqual, "absent", ""),
            one(Regex, "__name__", "metric_[01]"),
            one(Equal, "__name__", "bare"),
        ];
        for a in &matchers {
            for b in &matchers {
                let want: Vec<&Labels> = all
                    .iter()
                    .filter(|l| a.matches_labels(l.as_ref()) && b.matches_labels(l.as_ref()))
                    .collect();
                let got = select(&db, vec![a.clone(), b.clone()]).await;
                assert_eq!(got.iter().collect::<Vec<_>>(), want, "{a} and {b}");
            }
        }
    });
}

async fn select(db: &Db, matchers: Vec<Matcher>) -> Vec<Labels> {
    let stream = db.head_store().series(SeriesRequest::new(0, 99_999, matchers)).await.unwrap();
    let batches: Vec<_> = stream.try_collect().await.unwrap();
    batches.into_iter().flatten().map(|s| s.labels).collect()
}

#[test]
fn start_timestamps_are_answered_with_their_samples() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        for (round, start) in [(0, 500), (1, 500), (2, 12_000)] {
            let mut batch = batch_of("acme");
            batch.push_floats(labels(1).as_ref(), &[(10_000 + round * 1_000, 1.0)]);
            batch.floats.start_ms.push(start);
            db.append(batch).await.unwrap();
        }
        let starts = |contents: Contents| -> Vec<i64> {
            contents.into_values().next().unwrap().into_values().map(|s| s.start_ms).collect()
        };
        assert_eq!(starts(read_all(&db).await), [500, 500, 12_000]);
        disk.crash(&Rng::from_seed(1));
        let db = open(&disk, 2).await;
        assert_eq!(starts(read_all(&db).await), [500, 500, 12_000]);
    });
}

#[test]
fn a_corrupt_fence_loses_no_late_sample() {
    run(async {
        use cairn_runtime::{Disk, OpenHow};
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        append(&db, 1, &[(10_000, 1.0)]).await;
        let closed = db.closed_windows(24_000).await.unwrap();
        append(&db, 1, &[(12_000, 3.0)]).await;
        db.cut(&closed[0]).await.unwrap();
        db.release(&closed[0]).await.unwrap();
        db.shutdown();
        // The second frame is the fence: the sample before it is in a block, the one behind it is not.
        let name = disk.list("/data/wal".as_ref()).unwrap()[0].name.clone();
        let path = std::path::Path::new("/data/wal").join(name);
        let bytes = disk.read(&path).unwrap();
        let magic: Vec<usize> =
            (0..bytes.len() - 4).filter(|i| bytes[*i..*i + 4] == [0xCA, 0x17, 0xF5, 0xA3]).collect();
        let file = disk.open(&path, OpenHow::Write).unwrap();
        file.write_all_at(&[!bytes[magic[1] + 45]], magic[1] as u64 + 45).unwrap();
        let db = open(&disk, 2).await;
        assert_eq!(db.replay_report().corruptions(), 1, "{:?}", db.replay_report());
        let samples = read_all(&db).await.into_values().next().unwrap();
        let got: Vec<_> = samples.into_values().map(|s| (s.t_ms, s.value)).collect();
        assert_eq!(got, [(10_000, Value::Float(1.0)), (12_000, Value::Float(3.0))]);
    });
}
