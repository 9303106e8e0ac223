//! The same data in either version gives the same data in the store, however the series are recalled.

use std::sync::atomic::Ordering;

use cairn_model::Value;
use cairn_proto::encode::{Sample, TimeSeries};
use proptest::prelude::*;

use crate::harness::*;

fn time_series() -> impl Strategy<Value = TimeSeries> {
    let label = ("[a-c]{0,2}|tenant_id|__name__", "[x-z]{0,2}");
    let sample = (-400i64..12, 0i64..2, -3i8..3);
    let samples = prop::collection::vec(sample, 0..3);
    (prop::option::weighted(0.9, 0u8..6), prop::collection::vec(label, 0..4), samples).prop_map(
        |(name, labels, samples)| {
            let name = name.map(|n| ("__name__".to_owned(), format!("m{n}")));
            TimeSeries {
                labels: name.into_iter().chain(labels).collect(),
                // Minutes: some are too old, some too far ahead. The value follows from the time: no conflicts.
                samples: samples
                    .into_iter()
                    .map(|(minute, _, _)| Sample {
                        t_ms: NOW_MS + minute * 60_000,
                        start_ms: 0,
                        value: Value::Float(minute as f64),
                    })
                    .collect(),
                ..TimeSeries::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn both_versions_store_the_same(requests in prop::collection::vec(prop::collection::vec(time_series(), 0..12), 1..6), forget in any::<u8>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (one, two) = (Harness::new(), Harness::new());
            // Each request three times: new, looked up, predicted.
            for (i, request) in requests.iter().chain(&requests).chain(&requests).enumerate() {
                // 2.0 refuses what 1.0 ignores: a series without samples.
                let request: Vec<_> = request.iter().filter(|s| !s.samples.is_empty()).cloned().collect();
                if forget >> (i % 8) & 1 == 1 {
                    one.store.forget_references();
                    two.store.forget_references();
                }
                let (a, b) = (one.v1(request.clone()).await, two.v2(request.clone()).await);
                assert_eq!((a.status, a.text), (b.status, b.text.clone()), "{request:?}");
            }
            assert_eq!(one.store.samples(), two.store.samples());
        });
    }
}

#[tokio::test]
async fn known_series_go_in_by_reference() {
    for version in [1, 2] {
        let h = Harness::new();
        let all: Vec<_> = (0..100).map(|i| series(&format!("m{i}"))).collect();
        for round in 0..3u64 {
            let answer = if version == 1 { h.v1(all.clone()).await } else { h.v2(all.clone()).await };
            assert_eq!(answer.status, 204);
            assert_eq!(h.store.by_reference.load(Ordering::Relaxed), round * 100);
        }
        assert_eq!(h.metric(r#"cairn_receive_series_total{by="labels"}"#), 100.0);
        assert_eq!(h.metric(r#"cairn_receive_series_total{by="table"}"#), 2.0, "the first of each request");
        assert_eq!(h.metric(r#"cairn_receive_series_total{by="predicted"}"#), 198.0);
    }
}

#[tokio::test]
async fn tenants_do_not_share_what_is_known() {
    let h = Harness::new();
    for tenant in ["a", "b", "a", "b"] {
        let request = post("/api/v1/write", V1).header("thanos-tenant", tenant);
        let answer = h.ask(request.body(axum::body::Body::from(body_v1(vec![series("m")]))).unwrap()).await;
        assert_eq!(answer.status, 204);
    }
    assert_eq!(h.store.series_names(), [r#"a/m{job="test"}"#, r#"b/m{job="test"}"#]);
}
