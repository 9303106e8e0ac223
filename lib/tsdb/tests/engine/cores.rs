//! Answers from several cores against those from one: the same series, in the same order, with the same chunks.

use std::sync::Arc;

use cairn_model::Matcher;
use cairn_model::storage::{Appendable, SelectHints, Series, SeriesRequest, StoreApi, WantedLabels};
use cairn_runtime::{CpuPool, MemDisk, Runtime};
use cairn_tsdb::Db;
use futures::TryStreamExt;

use crate::support::*;

/// More than a batch of an answer, and enough for several slices of each partition.
const SERIES: u32 = 5_000;
const START_MS: i64 = 1_000_000;
const ROUNDS: i64 = 14;
const STEP_MS: i64 = 1_000;

fn requests() -> Vec<SeriesRequest> {
    let all = SeriesRequest::new(i64::MIN, i64::MAX, Vec::new());
    let newest_only = SelectHints { newest_only: true, ..SelectHints::default() };
    let only = |names: &[&str]| WantedLabels::Only(names.iter().map(|n| (*n).to_owned()).collect());
    vec![
        all.clone(),
        SeriesRequest { skip_chunks: true, ..all.clone() },
        SeriesRequest { limit: SERIES as usize - 7, ..all.clone() },
        SeriesRequest { labels: only(&["job"]), ..all.clone() },
        SeriesRequest { labels: only(&[]), hints: newest_only, ..all.clone() },
        SeriesRequest { matchers: vec![Matcher::equal("job", "job_3")], ..all },
    ]
}

/// What head and blocks answer to each of the requests.
async fn answers(cpu: CpuPool) -> Vec<Vec<Series>> {
    let runtime = Runtime { cpu, ..machine(&MemDisk::new(), 1) };
    let db = Db::open(options(), runtime).await.expect("the database opens");
    for round in 0..ROUNDS {
        let mut batch = batch_of("acme");
        for n in 0..SERIES {
            let sample = (START_MS + round * STEP_MS, f64::from(n) * 1e3 + round as f64);
            batch.push_floats(labels(n).as_ref(), &[sample]);
        }
        let done = db.append(batch).await.expect("taken");
        assert!(done.rejections.is_empty() && done.unknown.is_empty());
    }
    db.seal_locally(START_MS + ROUNDS * STEP_MS).await.expect("sealed");
    let stores: [Arc<dyn StoreApi>; 2] = [db.head_store(), Arc::new(db.blocks())];
    let mut answers = Vec::new();
    for store in &stores {
        for request in requests() {
            let stream = store.series(request).await.expect("readable");
            let batches: Vec<_> = stream.try_collect().await.expect("readable");
            answers.push(batches.into_iter().flatten().collect());
        }
    }
    answers
}

#[test]
fn several_cores_answer_as_one_does() {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let tokio = tokio.expect("a runtime for a test");
    let one = tokio.block_on(answers(CpuPool::inline()));
    let several = tokio.block_on(answers(CpuPool::threads(3)));
    let expected = [SERIES, SERIES, SERIES - 7, SERIES, SERIES, SERIES / 5].repeat(2);
    assert_eq!(one.iter().map(|a| a.len() as u32).collect::<Vec<_>>(), expected);
    for (i, (one, several)) in one.iter().zip(&several).enumerate() {
        assert_eq!(one.len(), several.len(), "answer {i}");
        for (a, b) in one.iter().zip(several) {
            assert_eq!(format!("{a:?}"), format!("{b:?}"), "answer {i}");
        }
    }
}
