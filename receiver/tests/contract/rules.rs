//! Rules of the protocol that the other tables do not name, one row a rule: heads, messages, order, histograms,
//! exemplars.

use axum::body::Body;
use cairn_model::{CounterResetHint, Histogram, Span, Value};
use cairn_proto::encode::{Sample, TimeSeries, WriteRequest, encode_v1, encode_v2, snappy_block};
use std::sync::Arc;

use crate::harness::*;
use crate::labels::{field, label, sample};
use crate::samples::{custom, exemplar, float, histogram_series, int};

#[tokio::test]
async fn each_rule_of_heads() {
    const EXPLICIT_V1: &str = "application/x-protobuf;proto=prometheus.WriteRequest";
    const SPACED_V2: &str = "application/x-protobuf; proto=io.prometheus.write.v2.Request";
    let h = Harness::new();
    for (what, path, content_type, version, status, is_v2) in [
        ("1.0 by name", "/api/v1/write", EXPLICIT_V1, "0.1.0", 204, false),
        ("2.0 with a space", "/api/v1/write", SPACED_V2, "2.0.0", 204, true),
        ("another parameter", "/api/v1/write", "application/x-protobuf;charset=utf-8", "0.1.0", 204, false),
        ("the version header does not decide", "/api/v1/write", V2, "0.1.0", 204, true),
        ("nor is it checked", "/api/v1/write", V1, "from the future", 204, false),
        ("a parameter without value", "/api/v1/write", "application/x-protobuf;proto", "0.1.0", 415, false),
        ("the type in other letters", "/api/v1/write", "Application/X-Protobuf", "0.1.0", 415, false),
        ("no endpoint", "/api/v1/writes", V1, "0.1.0", 404, false),
        ("remote read", "/api/v1/read", V1, "0.1.0", 404, false),
    ] {
        let body = if is_v2 { body_v2(vec![series("a")]) } else { body_v1(vec![series("a")]) };
        let request = post(path, content_type).header("x-prometheus-remote-write-version", version);
        let answer = h.ask(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text);
        assert_eq!(answer.written(), is_v2.then_some([1, 0, 0]), "{what}");
    }
}

fn symbols(all: &[&[u8]]) -> Vec<u8> {
    all.iter().flat_map(|s| field(4, s)).collect()
}

/// A series of 2.0 with one sample and whatever else.
fn series_v2(refs: &[u8], rest: &[u8]) -> Vec<u8> {
    field(5, &[field(1, refs), sample(), rest.to_vec()].concat())
}

#[tokio::test]
async fn each_rule_of_messages() {
    let named = [label(b"__name__", b"good"), sample()].concat();
    let v1 = encode_v1(&WriteRequest { series: vec![series("good")], ..Default::default() });
    let v2 = encode_v2(&WriteRequest { series: vec![series("good")], ..Default::default() });
    let empty = [field(1, &label(b"__name__", b"m")), field(1, &named)].concat();
    let plain: &[&[u8]] = &[b"", b"__name__", b"good", b"t"];
    let with_exemplar =
        |refs: &[u8]| [symbols(plain), series_v2(&[1, 2], &field(4, &field(1, refs)))].concat();
    // What is asked, the body, its type, the status, the Written headers of 2.0, the text, series stored.
    for (what, body, content_type, status, written, text, stored) in [
        (
            "fields of later versions are skipped",
            [field(15, b"x"), v1.clone()].concat(),
            V1,
            204,
            None,
            "",
            1,
        ),
        ("and inside a series", field(1, &[field(9, b"x"), named.clone()].concat()), V1, 204, None, "", 1),
        ("1.0 sent as 2.0 holds nothing, and says so", v1, V2, 204, Some([0, 0, 0]), "", 0),
        ("2.0 sent as 1.0 holds nothing", v2, V1, 204, None, "", 0),
        ("1.0: a series without samples is nothing", empty, V1, 204, None, "", 1),
        (
            "2.0: a series without samples is refused",
            [symbols(plain), field(5, &field(1, &[1, 3])), series_v2(&[1, 2], b"")].concat(),
            V2,
            400,
            Some([1, 0, 0]),
            "series without samples or histograms",
            1,
        ),
        (
            "the first symbol need not be empty",
            [symbols(&[b"__name__", b"good"]), series_v2(&[0, 1], b"")].concat(),
            V2,
            204,
            Some([1, 0, 0]),
            "",
            1,
        ),
        (
            "a symbol that is not UTF-8 spoils its series alone",
            [
                symbols(&[b"", b"__name__", b"good", b"\xff"]),
                series_v2(&[1, 2, 3, 2], b""),
                series_v2(&[1, 2], b""),
            ]
            .concat(),
            V2,
            400,
            Some([1, 0, 0]),
            "is not UTF-8",
            1,
        ),
        ("an exemplar with half a label", with_exemplar(&[3]), V2, 204, Some([1, 0, 0]), "", 1),
        (
            "an exemplar whose reference leads nowhere",
            with_exemplar(&[3, 99]),
            V2,
            204,
            Some([1, 0, 0]),
            "",
            1,
        ),
    ] {
        let h = Harness::new();
        let answer = h.post("/api/v1/write", content_type, snappy_block(&body)).await;
        assert_eq!((answer.status, answer.written()), (status, written), "{what}: {}", answer.text);
        assert!(answer.text.contains(text), "{what}: {}", answer.text);
        assert_eq!(h.store.series_names().len(), stored, "{what}: {:?}", h.store.series_names());
        assert!(h.store.exemplars().is_empty(), "{what}");
    }
}

#[tokio::test]
async fn each_rule_of_order_inside_a_request() {
    let at = |samples: &[(i64, f64)]| TimeSeries::floats(&[("__name__", "m")], samples);
    let histogram = TimeSeries { labels: at(&[]).labels, ..histogram_series(int(|_| {})) };
    for (what, all, status, written) in [
        ("a sample twice", vec![at(&[(NOW_MS, 1.0), (NOW_MS, 1.0)])], 204, [2, 0, 0]),
        ("a series twice", vec![at(&[(NOW_MS, 1.0)]), at(&[(NOW_MS - 1, 1.0)])], 204, [2, 0, 0]),
        ("newest first", vec![at(&[(NOW_MS, 1.0), (NOW_MS - 9, 1.0)])], 204, [2, 0, 0]),
        ("two values at a time", vec![at(&[(NOW_MS, 1.0), (NOW_MS, 2.0)])], 400, [1, 0, 0]),
        ("a number and a histogram at a time", vec![at(&[(NOW_MS, 1.0)]), histogram], 400, [1, 0, 0]),
    ] {
        let answer = Harness::new().v2(all).await;
        assert_eq!((answer.status, answer.written()), (status, Some(written)), "{what}: {}", answer.text);
        if status == 400 {
            assert!(answer.text.starts_with("duplicate sample for timestamp"), "{what}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn histograms_are_judged_by_time_as_numbers_are() {
    const HOUR_MS: i64 = 3_600_000;
    for (what, t_ms, want) in [
        ("six hours ago", NOW_MS - 6 * HOUR_MS, None),
        ("older", NOW_MS - 6 * HOUR_MS - 1, Some("too old sample")),
        ("more than ten minutes ahead", NOW_MS + 600_001, Some("out of bounds")),
    ] {
        let h = Harness::new();
        let values = [int(|_| {}), float(|_| {}), custom(&[1.0], 2)];
        let all = values.into_iter().enumerate().map(|(i, value)| TimeSeries {
            samples: vec![Sample { t_ms, start_ms: 0, value }],
            ..series(&format!("h{i}"))
        });
        let answer = h.v2(all.collect()).await;
        assert_eq!(answer.written(), Some([0, if want.is_none() { 3 } else { 0 }, 0]), "{what}");
        assert!(answer.text.starts_with(want.unwrap_or("")), "{what}: {}", answer.text);
    }
}

fn custom_with(change: impl FnOnce(&mut Histogram)) -> Value {
    let Value::Histogram(mut h) = custom(&[1.0, 2.0], 3) else { panic!("integers") };
    change(Arc::make_mut(&mut h));
    Value::Histogram(h)
}

#[tokio::test]
async fn each_rule_of_both_sides_and_of_custom_buckets() {
    let span = |offset, length| Span { offset, length };
    for (what, value, want) in [
        ("the coarsest schema number", int(|h| h.schema = -9), None),
        (
            "negative buckets",
            int(|h| (h.negative_spans, h.negative_buckets, h.count) = (vec![span(-5, 1)], vec![4], 10)),
            None,
        ),
        (
            "negative spans without buckets",
            int(|h| h.negative_spans = vec![span(0, 1)]),
            Some("negative side"),
        ),
        (
            "a negative bucket below zero",
            int(|h| (h.negative_spans, h.negative_buckets) = (vec![span(0, 1)], vec![-1])),
            Some("observation count is negative"),
        ),
        (
            "negative spans that go back",
            int(|h| (h.negative_spans, h.negative_buckets) = (vec![span(0, 1), span(-2, 1)], vec![0, 0])),
            Some("offset is negative"),
        ),
        ("a negative zero bucket", float(|h| h.zero_count = -0.5), Some("negative count")),
        ("a negative threshold", int(|h| h.zero_threshold = -1.0), Some("negative count")),
        ("a threshold that is no number", float(|h| h.zero_threshold = f64::NAN), Some("negative count")),
        ("custom bounds that are no number", custom(&[f64::NAN], 1), Some("finite")),
        ("equal custom bounds", custom(&[1.0, 1.0], 2), Some("strictly increasing")),
        (
            "custom buckets with a zero bucket",
            custom_with(|h| (h.zero_count, h.count) = (1, h.count + 1)),
            Some("zero count of 0"),
        ),
        (
            "custom buckets with negative ones",
            custom_with(|h| (h.negative_spans, h.negative_buckets) = (vec![span(0, 1)], vec![0])),
            Some("no negative buckets"),
        ),
    ] {
        for version in [1, 2] {
            let h = Harness::new();
            let all = vec![histogram_series(value.clone()), series("good")];
            let answer = if version == 1 { h.v1(all).await } else { h.v2(all).await };
            assert_eq!(answer.status, if want.is_none() { 204 } else { 400 }, "{what}: {}", answer.text);
            assert!(want.is_none_or(|text| answer.text.contains(text)), "{what}: {}", answer.text);
            assert_eq!(h.store.series_names().len(), 1 + usize::from(want.is_none()), "{what}");
        }
    }
}

#[tokio::test]
async fn reset_hints_are_kept() {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    for hint in [Unknown, Reset, NotReset, Gauge] {
        let h = Harness::new();
        h.v2(vec![histogram_series(int(|i| i.reset_hint = hint))]).await;
        let stored = h.store.samples();
        let Value::Histogram(kept) = &stored[r#"default-tenant/h{job="test"}"#][&NOW_MS].1 else {
            panic!("an integer one was sent")
        };
        assert_eq!(kept.reset_hint, hint);
    }
}

#[tokio::test]
async fn exemplar_labels_are_counted_in_characters() {
    for (what, value, stored) in [
        ("128 characters in all", "x".repeat(127), true),
        ("of two bytes each", "é".repeat(127), true),
        ("129 characters", "é".repeat(128), false),
    ] {
        let h = Harness::new();
        let exemplars = vec![exemplar(&[("t", &value)], NOW_MS)];
        let answer = h.v2(vec![TimeSeries { exemplars, ..series("m") }]).await;
        assert_eq!((answer.status, answer.written()), (204, Some([1, 0, u64::from(stored)])), "{what}");
    }
}
