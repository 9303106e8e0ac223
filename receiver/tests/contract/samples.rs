//! Rules about samples, histograms, exemplars and metadata.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cairn_model::metadata::{Metadata, MetricType};
use cairn_model::sample::stale_nan;
use cairn_model::{FloatHistogram, Histogram, Span, TenantId, Value};
use cairn_proto::encode::{Exemplar, Sample, TimeSeries, WriteRequest, encode_v1, snappy_block};
use cairn_receiver::{Limits, TenantLimits};

use crate::harness::*;

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

#[tokio::test]
async fn time_is_judged_by_sample() {
    for (what, t_ms, want) in [
        ("now", NOW_MS, None),
        ("six hours ago", NOW_MS - 6 * HOUR_MS, None),
        ("ten minutes ahead", NOW_MS + 10 * MINUTE_MS, None),
        ("older than six hours", NOW_MS - 6 * HOUR_MS - 1, Some("too old sample")),
        ("more than ten minutes ahead", NOW_MS + 10 * MINUTE_MS + 1, Some("out of bounds")),
        ("the beginning of time", 0, Some("too old sample")),
        ("before it", -1, Some("too old sample")),
        ("the end of it", i64::MAX, Some("out of bounds")),
        ("and its mirror", i64::MIN, Some("too old sample")),
    ] {
        for version in [1, 2] {
            let h = Harness::new();
            let good = (NOW_MS - 1, 7.0);
            let all = vec![TimeSeries::floats(&[("__name__", "m")], &[(t_ms, 1.0), good])];
            let answer = if version == 1 { h.v1(all).await } else { h.v2(all).await };
            let stored = h.store.samples()["default-tenant/m"].len();
            match want {
                None => assert_eq!((answer.status, stored), (204, 2), "{what}"),
                Some(text) => {
                    assert_eq!((answer.status, stored), (400, 1), "{what}");
                    assert!(answer.text.starts_with(text), "{what}: {}", answer.text);
                    assert!(answer.text.contains(&format!("m at {t_ms} ms")), "{what}: {}", answer.text);
                    assert_eq!(answer.written(), (version == 2).then_some([1, 0, 0]));
                }
            }
        }
    }
}

#[tokio::test]
async fn a_known_series_is_judged_as_a_new_one_is() {
    let h = Harness::new();
    h.v1(vec![series("a")]).await;
    let late = TimeSeries::floats(&[("__name__", "a"), ("job", "test")], &[(1, 1.0)]);
    let answer = h.v1(vec![late]).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains(r#"a{job="test"} at 1 ms"#), "{}", answer.text);
}

#[tokio::test]
async fn any_order_within_the_window_is_stored() {
    let h = Harness::new();
    for t in [0, -50, 30, -HOUR_MS, 20] {
        let all = vec![TimeSeries::floats(&[("__name__", "m")], &[(NOW_MS + t, 1.0), (NOW_MS + t - 1, 2.0)])];
        assert_eq!(h.v1(all).await.status, 204);
    }
    assert_eq!(h.store.samples()["default-tenant/m"].len(), 10);
}

#[tokio::test]
async fn equal_repeats_count_as_written_and_other_values_conflict() {
    let h = Harness::new();
    let one = |v| vec![TimeSeries::floats(&[("__name__", "m")], &[(NOW_MS, v)]), series("other")];
    assert_eq!(h.v2(one(1.0)).await.written(), Some([2, 0, 0]));
    let repeat = h.v2(one(1.0)).await;
    assert_eq!((repeat.status, repeat.written()), (204, Some([2, 0, 0])));
    let conflict = h.v2(one(2.0)).await;
    assert_eq!((conflict.status, conflict.written()), (400, Some([1, 0, 0])));
    assert!(conflict.text.starts_with("duplicate sample for timestamp: m at"), "{}", conflict.text);
    let counter = r#"cairn_receive_rejected_samples_total{reason="conflict",tenant="default-tenant"}"#;
    assert_eq!(h.metric(counter), 1.0);
}

#[tokio::test]
async fn a_series_over_the_limit_is_400_and_the_others_are_stored() {
    let h = Harness::new();
    h.v1(vec![series("a"), series("b")]).await;
    *h.store.series_limit.lock() = Some(2);
    for _ in 0..2 {
        let answer = h.v2(vec![series("a"), series("new"), series("b")]).await;
        assert_eq!((answer.status, answer.written()), (400, Some([2, 0, 0])));
        assert!(answer.text.starts_with("series limit of 2 reached"), "{}", answer.text);
    }
    *h.store.series_limit.lock() = None;
    assert_eq!(h.v2(vec![series("a"), series("new"), series("b")]).await.written(), Some([3, 0, 0]));
}

#[tokio::test]
async fn stale_markers_keep_their_bits() {
    let h = Harness::new();
    let all = vec![TimeSeries::floats(&[("__name__", "m")], &[(NOW_MS, stale_nan())])];
    assert_eq!(h.v1(all).await.status, 204);
    assert!(h.store.samples()["default-tenant/m"][&NOW_MS].1.is_stale());
}

#[tokio::test]
async fn start_timestamps_are_kept_by_2_0() {
    let h = Harness::new();
    let start_ms = NOW_MS - HOUR_MS;
    let with = |start_ms, t_ms| Sample { t_ms, start_ms, value: Value::Float(1.0) };
    let all = vec![
        series("before"),
        TimeSeries {
            samples: vec![with(0, NOW_MS - 2), with(start_ms, NOW_MS - 1), with(0, NOW_MS)],
            ..series("m")
        },
        series("after"),
    ];
    assert_eq!(h.v2(all).await.status, 204);
    let stored = h.store.samples();
    let starts: Vec<_> = stored[r#"default-tenant/m{job="test"}"#].values().map(|(s, _)| *s).collect();
    assert_eq!(starts, [0, start_ms, 0]);
    for other in ["before", "after"] {
        assert!(stored[&format!(r#"default-tenant/{other}{{job="test"}}"#)].values().all(|(s, _)| *s == 0));
    }
}

pub fn int_histogram() -> Histogram {
    Histogram {
        schema: 1,
        count: 6,
        zero_count: 1,
        zero_threshold: 0.001,
        sum: 12.5,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![2, 1],
        ..Histogram::default()
    }
}

pub fn histogram_series(value: Value) -> TimeSeries {
    TimeSeries { samples: vec![Sample { t_ms: NOW_MS, start_ms: 0, value }], ..series("h") }
}

pub fn int(change: impl FnOnce(&mut Histogram)) -> Value {
    let mut h = int_histogram();
    change(&mut h);
    Value::Histogram(Arc::new(h))
}

pub fn float(change: impl FnOnce(&mut FloatHistogram)) -> Value {
    let mut h = int_histogram().to_float();
    change(&mut h);
    Value::FloatHistogram(Arc::new(h))
}

pub fn custom(bounds: &[f64], buckets: usize) -> Value {
    Value::Histogram(Arc::new(Histogram {
        schema: -53,
        count: buckets as u64,
        positive_spans: vec![Span { offset: 0, length: buckets as u32 }],
        positive_buckets: std::iter::once(1).chain(std::iter::repeat(0)).take(buckets).collect(),
        custom_values: bounds.to_vec(),
        ..Histogram::default()
    }))
}

#[tokio::test]
async fn each_rule_of_histograms() {
    for (what, value, want) in [
        ("integer", int(|_| {}), None),
        ("float", float(|_| {}), None),
        ("custom buckets", custom(&[1.0, 2.0], 3), None),
        ("schema -4", int(|h| h.schema = -4), None),
        ("stale", int(|h| h.sum = stale_nan()), None),
        ("a NaN sum allows a larger count", int(|h| (h.sum, h.count) = (f64::NAN, 9)), None),
        ("schema 9 is reduced", int(|h| h.schema = 9), None),
        ("schema 53", int(|h| h.schema = 53), Some("invalid schema")),
        ("schema -10", int(|h| h.schema = -10), Some("invalid schema")),
        ("count", int(|h| h.count = 7), Some("observations found in buckets, but the Count field is 7")),
        ("count smaller than buckets", int(|h| (h.sum, h.count) = (f64::NAN, 5)), Some("should be at least")),
        ("negative bucket", int(|h| h.positive_buckets = vec![2, -3]), Some("observation count is negative")),
        ("spans and buckets", int(|h| h.positive_spans[0].length = 3), Some("different number of buckets")),
        (
            "span offset",
            int(|h| h.positive_spans = vec![Span { offset: 0, length: 1 }, Span { offset: -1, length: 1 }]),
            Some("offset is negative"),
        ),
        (
            "bounds with exponential schema",
            int(|h| h.custom_values = vec![1.0]),
            Some("must not have custom bounds"),
        ),
        ("index range", int(|h| h.positive_spans[0].offset = i32::MAX), Some("out of range")),
        (
            "float negative bucket",
            float(|h| h.positive_buckets[0] = -1.0),
            Some("observation count is negative"),
        ),
        ("float negative count", float(|h| h.count = -1.0), Some("negative count")),
        ("custom bounds order", custom(&[2.0, 1.0], 2), Some("strictly increasing")),
        ("custom bounds finite", custom(&[1.0, f64::INFINITY], 2), Some("finite")),
        ("custom buckets beyond bounds", custom(&[1.0], 3), Some("do not match its bounds")),
    ] {
        for version in [1, 2] {
            let h = Harness::new();
            let all = vec![histogram_series(value.clone()), series("good")];
            let answer = if version == 1 { h.v1(all).await } else { h.v2(all).await };
            let good = usize::from(want.is_none());
            assert_eq!(answer.status, if want.is_none() { 204 } else { 400 }, "{what}: {}", answer.text);
            assert!(want.is_none_or(|text| answer.text.contains(text)), "{what}: {}", answer.text);
            assert_eq!(h.store.series_names().len(), 1 + good, "{what}");
            assert_eq!(answer.written(), (version == 2).then_some([1, good as u64, 0]), "{what}");
        }
    }
}

#[tokio::test]
async fn a_fine_schema_is_stored_as_8() {
    let h = Harness::new();
    h.v2(vec![histogram_series(int(|h| h.schema = 52))]).await;
    let stored = h.store.samples();
    let Value::Histogram(stored) = &stored[r#"default-tenant/h{job="test"}"#][&NOW_MS].1 else {
        panic!("an integer one was sent")
    };
    assert_eq!((stored.schema, stored.count), (8, 6));
    assert_eq!(stored.validate(), Ok(()));
}

pub fn exemplar(labels: &[(&str, &str)], t_ms: i64) -> Exemplar {
    let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Exemplar { labels, value: 0.5, t_ms }
}

#[tokio::test]
async fn a_refused_exemplar_changes_no_samples_verdict() {
    let long = "x".repeat(129);
    for (what, labels, t_ms, stored) in [
        ("good", &[("trace_id", "abc")][..], NOW_MS, true),
        ("no labels", &[], NOW_MS, true),
        ("too long", &[("t", &*long)], NOW_MS, false),
        ("duplicate", &[("t", "1"), ("t", "2")], NOW_MS, false),
        ("future", &[("t", "1")], NOW_MS + 11 * MINUTE_MS, false),
    ] {
        for version in [1, 2] {
            let h = Harness::new();
            let all = vec![TimeSeries { exemplars: vec![exemplar(labels, t_ms)], ..series("m") }];
            let answer = if version == 1 { h.v1(all).await } else { h.v2(all).await };
            assert_eq!(answer.status, 204, "{what}: {}", answer.text);
            assert_eq!(h.store.exemplars().len(), usize::from(stored), "{what}");
            assert_eq!(answer.written(), (version == 2).then_some([1, 0, u64::from(stored)]), "{what}");
            let counter =
                r#"cairn_receive_rejected_samples_total{reason="exemplar",tenant="default-tenant"}"#;
            assert_eq!(h.metric(counter), f64::from(u8::from(!stored)), "{what}");
        }
    }
}

#[tokio::test]
async fn an_exemplar_alone_is_stored_by_1_0_and_refused_by_2_0() {
    let alone = || {
        vec![TimeSeries { samples: vec![], exemplars: vec![exemplar(&[("t", "1")], NOW_MS)], ..series("m") }]
    };
    let h = Harness::new();
    assert_eq!(h.v1(alone()).await.status, 204);
    assert_eq!(h.store.exemplars().len(), 1);
    let answer = h.v2(alone()).await;
    assert_eq!((answer.status, answer.written()), (400, Some([0, 0, 0])));
    assert!(answer.text.starts_with("series without samples or histograms"), "{}", answer.text);
}

#[tokio::test]
async fn exemplars_above_the_limit_are_left_out_and_counted() {
    let h = Harness::new();
    let few = Arc::new(TenantLimits { exemplars_per_request: 2, ..TenantLimits::default() });
    h.limits.replace(Limits { default: few, ..Limits::default() });
    let exemplars = (0..5).map(|i| exemplar(&[("t", "1")], NOW_MS + i)).collect();
    assert_eq!(h.v2(vec![TimeSeries { exemplars, ..series("m") }]).await.written(), Some([1, 0, 2]));
    assert_eq!(h.metric("cairn_receive_left_out_total"), 3.0);
}

fn counter(help: &str) -> Metadata {
    Metadata { metric_type: MetricType::Counter, unit: "s".to_owned(), help: help.to_owned() }
}

#[tokio::test]
async fn metadata_of_1_0_comes_by_family() {
    let h = Harness::new();
    let metadata = vec![("m_total".to_owned(), counter("Things.")), (String::new(), counter("Nobody's."))];
    let body = snappy_block(&encode_v1(&WriteRequest { metadata, ..WriteRequest::default() }));
    assert_eq!(h.post("/api/v1/receive", V1, body).await.status, 200);
    assert_eq!(h.store.metadata(), [("m_total".to_owned(), counter("Things."))].into());
}

#[tokio::test]
async fn metadata_of_2_0_comes_with_the_series_and_once_for_each_change() {
    let h = Harness::new();
    let with = |help: &str| vec![TimeSeries { metadata: Some(counter(help)), ..series("m") }];
    h.v2(with("One.")).await;
    assert_eq!(h.store.metadata()["m"], counter("One."));
    h.v2(with("Two.")).await;
    assert_eq!(h.store.metadata()["m"], counter("Two."));
    // A series without samples is refused, and its metadata is kept.
    let bare = vec![TimeSeries { samples: vec![], metadata: Some(counter("Three.")), ..series("m") }];
    assert_eq!(h.v2(bare).await.status, 400);
    assert_eq!(h.store.metadata()["m"], counter("Three."));
}

#[tokio::test]
async fn the_rate_refuses_whole_requests_with_retry_after() {
    let h = Harness::new();
    let slow = TenantLimits { samples_per_s: 10, burst_samples: 20, ..TenantLimits::default() };
    let tenant = TenantId::default_tenant();
    h.limits.replace(Limits { tenants: HashMap::from([(tenant, Arc::new(slow))]), ..Limits::default() });
    let many = |name: &str| (0..30).map(|i| series(&format!("{name}{i}"))).collect::<Vec<_>>();
    assert_eq!(h.v2(many("a")).await.status, 204, "a quiet tenant may send more at once");
    let refused = h.v2(many("b")).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.written(), Some([0, 0, 0]));
    assert_eq!(h.store.series_names().len(), 30, "nothing of it is stored");
    // Malformed goes before limited, limited before unavailable.
    assert_eq!(h.post("/api/v1/write", V1, b"x".to_vec()).await.status, 400);
    h.clock.advance(Duration::from_secs(2));
    assert_eq!(h.v2(many("b")).await.status, 204);
    let other = post("/api/v1/write", V1).header("thanos-tenant", "other");
    let other = other.body(axum::body::Body::from(body_v1(many("c")))).unwrap();
    assert_eq!(h.ask(other).await.status, 204, "other tenants have their own rate");
}
