//! What a request may read, in head and blocks: more is refused before it is there.

use std::sync::Arc;

use cairn_model::storage::{Appendable, LabelsRequest, Series, SeriesRequest, StoreApi, StoreError};
use cairn_model::{Matcher, ReadBounds};
use futures::TryStreamExt;

use crate::support::*;

const SERIES: u32 = 300;

/// The same series in the head and in a block.
async fn stores() -> Vec<(&'static str, Arc<dyn StoreApi>)> {
    let db = open(&Default::default(), 1).await;
    for t_ms in [1_000_000, 1_000_000 + 2 * WINDOW_MS] {
        let mut batch = batch_of("acme");
        for n in 0..SERIES {
            batch.push_floats(labels(n).as_ref(), &[(t_ms, 1.0)]);
        }
        db.append(batch).await.expect("taken");
    }
    db.seal_locally(1_000_000 + WINDOW_MS + 4_000).await.expect("sealed");
    assert_eq!(db.blocks().len(), 1);
    vec![("head", db.head_store()), ("blocks", Arc::new(db.blocks()))]
}

async fn read(store: &dyn StoreApi, request: SeriesRequest) -> Result<Vec<Series>, StoreError> {
    let batches: Vec<_> = store.series(request).await?.try_collect().await?;
    Ok(batches.into_iter().flatten().collect())
}

#[test]
fn series_are_refused_past_their_number_or_bytes_unless_a_limit_leaves_few() {
    run(async {
        for (name, store) in stores().await {
            for skip_chunks in [true, false] {
                let all = SeriesRequest { skip_chunks, ..SeriesRequest::new(i64::MIN, i64::MAX, vec![]) };
                let ask = async |max_series, max_bytes, limit| {
                    let bounds = ReadBounds { max_series, max_bytes, ..ReadBounds::default() };
                    read(&*store, SeriesRequest { bounds, limit, ..all.clone() }).await.map(|s| s.len())
                };
                let series = read(&*store, all.clone()).await.unwrap();
                let bytes: usize = series.iter().map(|s| s.labels.as_bytes().len()).sum();
                assert_eq!(series.len(), SERIES as usize, "{name}");
                let most = u64::from(SERIES);
                assert_eq!(ask(most, bytes as u64, 0).await.unwrap(), SERIES as usize, "{name}");
                let refused = ask(most - 1, 0, 0).await;
                assert!(
                    matches!(refused, Err(StoreError::LimitExceeded { limit: 299, needed: 300, .. })),
                    "{name}: {refused:?}"
                );
                let refused = ask(0, bytes as u64 - 1, 0).await;
                assert!(matches!(refused, Err(StoreError::LimitExceeded { .. })), "{name}: {refused:?}");
                // It does not go on to the end to find out.
                let refused = ask(0, 100, 0).await;
                let Err(StoreError::LimitExceeded { needed, limit: 100, .. }) = refused else {
                    panic!("{name}: {refused:?}")
                };
                assert!(needed < bytes as u64, "{name}: {needed} of {bytes}");
            }
            let few = ReadBounds { max_series: 5, ..ReadBounds::default() };
            let request = SeriesRequest {
                skip_chunks: true,
                limit: 6,
                bounds: few,
                ..SeriesRequest::new(i64::MIN, i64::MAX, vec![])
            };
            assert_eq!(read(&*store, request).await.unwrap().len(), 6, "{name}");
        }
    });
}

#[test]
fn names_and_values_are_refused_past_their_bytes_unless_a_limit_leaves_few() {
    run(async {
        for (name, store) in stores().await {
            for matchers in [vec![], vec![Matcher::equal("__name__", "metric_1")]] {
                let ask = async |max_bytes, limit| {
                    let bounds = ReadBounds { max_bytes, ..ReadBounds::default() };
                    let request = LabelsRequest {
                        bounds,
                        limit,
                        ..LabelsRequest::new(i64::MIN, i64::MAX, matchers.clone())
                    };
                    let names = store.label_names(request.clone()).await?.values;
                    Ok((names, store.label_values("n", request).await?.values.len()))
                };
                let values = SERIES as usize / if matchers.is_empty() { 1 } else { 3 };
                let (names, found) = ask(1_000, 0).await.unwrap();
                assert_eq!(names, ["__name__", "job", "n", "tenant_id"], "{name}");
                assert_eq!(found, values, "{name}");
                let refused = ask(100, 0).await;
                assert!(
                    matches!(refused, Err(StoreError::LimitExceeded { limit: 100, .. })),
                    "{name}: {refused:?}"
                );
                assert_eq!(ask(20, 3).await.unwrap().1, 3, "{name}");
            }
        }
    });
}

#[test]
fn nothing_is_read_once_nobody_waits() {
    run(async {
        for (name, store) in stores().await {
            let bounds = ReadBounds::default();
            bounds.cancel.cancel();
            let all =
                SeriesRequest { bounds: bounds.clone(), ..SeriesRequest::new(i64::MIN, i64::MAX, vec![]) };
            assert!(matches!(read(&*store, all).await, Err(StoreError::Canceled)), "{name}");
            let names = LabelsRequest { bounds, ..LabelsRequest::new(i64::MIN, i64::MAX, vec![]) };
            assert!(matches!(store.label_names(names).await, Err(StoreError::Canceled)), "{name}");
        }
    });
}
