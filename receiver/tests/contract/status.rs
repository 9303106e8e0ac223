//! Statuses, their order, and what stands in the answers.

use axum::body::Body;
use cairn_model::storage::AppendError;
use cairn_proto::encode::TimeSeries;
use http::Request;

use crate::harness::*;

#[tokio::test]
async fn success_is_200_on_thanos_path_for_1_0_and_204_elsewhere() {
    let h = Harness::new();
    for (path, content_type, body, want) in [
        ("/api/v1/receive", V1, body_v1(vec![series("a")]), 200),
        ("/api/v1/receive", V2, body_v2(vec![series("a")]), 204),
        ("/api/v1/write", V1, body_v1(vec![series("a")]), 204),
        ("/api/v1/write", V2, body_v2(vec![series("a")]), 204),
        ("/api/v1/push", V1, body_v1(vec![series("a")]), 204),
        ("/api/v1/push", V2, body_v2(vec![series("a")]), 204),
    ] {
        let answer = h.post(path, content_type, body).await;
        assert_eq!((answer.status, answer.text.as_str()), (want, ""), "{path} {content_type}");
        assert_eq!(answer.written().is_some(), content_type == V2, "Written headers are 2.0's");
    }
}

#[tokio::test]
async fn a_request_with_nothing_in_it_succeeds() {
    let h = Harness::new();
    assert_eq!(h.v1(vec![]).await.status, 204);
    assert_eq!(h.v2(vec![]).await.status, 204);
}

/// A request as far as its head is concerned.
struct Head {
    what: &'static str,
    method: &'static str,
    content_type: Option<&'static str>,
    encoding: Option<&'static str>,
    length: Option<&'static str>,
    tenant: Option<&'static str>,
    want: u16,
    text: &'static str,
}

const GOOD: Head = Head {
    what: "a good head",
    method: "POST",
    content_type: Some(V1),
    encoding: Some("snappy"),
    length: None,
    tenant: None,
    want: 204,
    text: "",
};

#[tokio::test]
async fn heads_are_judged_in_order() {
    let h = Harness::new();
    let rows = [
        GOOD,
        Head { what: "no content type is 1.0", content_type: None, ..GOOD },
        Head { what: "no encoding is snappy", encoding: None, ..GOOD },
        Head { what: "a tenant", tenant: Some("acme"), ..GOOD },
        Head { what: "method", method: "GET", want: 405, text: "method not allowed: use POST", ..GOOD },
        Head { what: "method before type", method: "PUT", content_type: Some("x"), want: 405, ..GOOD },
        Head { what: "type", content_type: Some("text/plain"), want: 415, text: "text/plain", ..GOOD },
        Head {
            what: "unknown proto",
            content_type: Some("application/x-protobuf;proto=x"),
            want: 415,
            ..GOOD
        },
        Head {
            what: "type before encoding",
            content_type: Some("x/y"),
            encoding: Some("gzip"),
            want: 415,
            text: "x/y",
            ..GOOD
        },
        Head { what: "encoding", encoding: Some("gzip"), want: 415, text: "\"gzip\": send snappy", ..GOOD },
        Head {
            what: "encoding before size",
            encoding: Some("zstd"),
            length: Some("99999999"),
            want: 415,
            ..GOOD
        },
        Head {
            what: "size",
            length: Some("33554433"),
            want: 413,
            text: "33554433 bytes: limit 33554432",
            ..GOOD
        },
        Head {
            what: "size before tenant",
            length: Some("33554433"),
            tenant: Some("../x"),
            want: 413,
            ..GOOD
        },
        Head { what: "tenant", tenant: Some("a/b"), want: 400, text: "invalid tenant name", ..GOOD },
    ];
    for row in rows {
        let mut request = Request::builder().method(row.method).uri("/api/v1/write");
        for (name, value) in [
            ("content-type", row.content_type),
            ("content-encoding", row.encoding),
            ("content-length", row.length),
            ("thanos-tenant", row.tenant),
        ] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = match row.length {
            // A body that announces itself and comes to nothing.
            Some(len) => Body::new(Announced(len.parse().unwrap())),
            None => Body::from(body_v1(vec![series("a")])),
        };
        let answer = h.ask(request.body(body).unwrap()).await;
        assert_eq!(answer.status, row.want, "{}: {}", row.what, answer.text);
        assert!(answer.text.contains(row.text), "{}: {}", row.what, answer.text);
        assert_eq!(answer.header("allow"), (row.want == 405).then_some("POST"), "{}", row.what);
    }
}

/// Says how long it is and then ends.
pub struct Announced(pub u64);

impl axum::body::HttpBody for Announced {
    type Data = bytes::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Ready(None)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0)
    }
}

#[tokio::test]
async fn damaged_bodies_are_400_and_store_nothing() {
    let h = Harness::new();
    let good = body_v1(vec![series("a"), series("b")]);
    let mut lying = good.clone();
    lying[0] ^= 1;
    let block = cairn_proto::encode::snappy_block;
    let mut damaged_end = cairn_proto::encode::encode_v1(&cairn_proto::encode::WriteRequest {
        series: vec![series("good")],
        ..Default::default()
    });
    damaged_end.extend([0x0a, 200, 1, 0x0a]);
    for (what, content_type, body, text) in [
        ("empty", V1, vec![], "it is empty, send a snappy block"),
        ("framed", V1, b"\xff\x06\x00\x00sNaPpY".to_vec(), "framed snappy stream, send the block format"),
        ("cut", V1, good[..good.len() - 1].to_vec(), "cannot decompress"),
        ("lying length", V1, lying, "cannot decompress"),
        ("no protobuf", V1, block(b"hello"), "cannot read WriteRequest"),
        ("damage behind good series", V1, block(&damaged_end), "nothing of this request is stored"),
        ("1.0 as 2.0 has another field", V2, block(&[0x28, 1]), "field 5 has wire type 0"),
        ("cut sample", V2, block(&[0x2a, 4, 0x12, 2, 0x09, 0]), "cannot read Sample"),
    ] {
        let answer = h.post("/api/v1/write", content_type, body).await;
        assert_eq!(answer.status, 400, "{what}: {}", answer.text);
        assert!(answer.text.contains(text), "{what}: {}", answer.text);
        assert_eq!(answer.written(), (content_type == V2).then_some([0, 0, 0]), "{what}");
    }
    assert!(h.store.series_names().is_empty());
}

#[tokio::test]
async fn both_tenant_headers_must_agree() {
    let h = Harness::new();
    let ask = |a: &'static str, b: &'static str| {
        let request = post("/api/v1/write", V1).header("THANOS-TENANT", a).header("X-Scope-OrgID", b);
        h.ask(request.body(Body::from(body_v1(vec![series("m")]))).unwrap())
    };
    assert_eq!(ask("a", "b").await.status, 400);
    assert_eq!(ask("a", "a").await.status, 204);
    assert_eq!(h.v1(vec![series("m")]).await.status, 204);
    assert_eq!(h.store.series_names(), [r#"a/m{job="test"}"#, r#"default-tenant/m{job="test"}"#]);
}

#[tokio::test]
async fn a_store_that_cannot_store_is_503_with_retry_after() {
    let h = Harness::new();
    let unavailable = AppendError::Unavailable { reason: "no quorum".to_owned(), retry_after_s: 7 };
    for (failure, text, retry) in [
        (unavailable, "cannot store samples now: no quorum", "7"),
        (AppendError::DiskFull("/data".to_owned()), "disk full: /data", "2"),
        (AppendError::ShuttingDown, "shutting down", "2"),
    ] {
        h.store.failures.lock().push(failure);
        let answer = h.v2(vec![series("a")]).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some(retry)));
        assert!(answer.text.contains(text), "{}", answer.text);
        assert_eq!(answer.written(), Some([0, 0, 0]));
        assert_eq!(h.v2(vec![series("a")]).await.status, 204, "and the repetition succeeds");
    }
}

#[tokio::test]
async fn unavailable_goes_before_invalid() {
    let h = Harness::new();
    let nameless = TimeSeries::floats(&[("a", "1")], &[(NOW_MS, 1.0)]);
    h.store.failures.lock().push(AppendError::ShuttingDown);
    assert_eq!(h.v1(vec![series("a"), nameless.clone()]).await.status, 503);
    assert_eq!(h.v1(vec![series("a"), nameless]).await.status, 400);
}

#[tokio::test]
async fn malformed_goes_before_unavailable() {
    let h = Harness::new();
    h.store.failures.lock().push(AppendError::ShuttingDown);
    assert_eq!(h.post("/api/v1/write", V1, b"x".to_vec()).await.status, 400);
}

#[tokio::test]
async fn a_receiver_on_hold_answers_503_and_says_why() {
    let h = Harness::new();
    h.receiver.hold(Some("the clock is 31 s off its peers".to_owned()));
    let answer = h.v2(vec![series("a")]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    assert!(answer.text.contains("31 s off"));
    h.receiver.hold(None);
    assert_eq!(h.v2(vec![series("a")]).await.status, 204);
}

#[tokio::test]
async fn otlp_says_that_it_is_not_there_yet() {
    let h = Harness::new();
    for path in ["/api/v1/otlp", "/api/v1/otlp/v1/metrics"] {
        let answer = h.post(path, "application/x-protobuf", vec![1, 2, 3]).await;
        assert_eq!(answer.status, 501);
        assert!(answer.text.contains("OTLP is not taken in yet"), "{}", answer.text);
    }
}

#[tokio::test]
async fn messages_begin_with_the_first_cause_and_list_ten() {
    let h = Harness::new();
    let mut all = vec![series("good")];
    all.push(TimeSeries::floats(&[("__name__", "dup"), ("x", "1"), ("x", "2")], &[(NOW_MS, 1.0)]));
    all.extend((0..20).map(|i| TimeSeries::floats(&[("n", &format!("{i}"))], &[(NOW_MS, 1.0)])));
    let answer = h.v2(all).await;
    assert_eq!(answer.status, 400);
    let lines: Vec<_> = answer.text.lines().collect();
    assert_eq!(
        lines[0],
        r#"label name "x" is not unique: {__name__="dup", x="1", x="2"} (21 samples refused, 1 stored)"#
    );
    assert_eq!(lines[1], r#"missing metric name: the label __name__ is required: {n="0"}"#);
    assert_eq!((lines.len(), lines[10]), (11, "and 11 more"));
    assert_eq!(answer.written(), Some([1, 0, 0]));
}

#[tokio::test]
async fn refusals_are_counted_and_kept() {
    let h = Harness::new();
    let bad = || TimeSeries::floats(&[("n", "1")], &[(NOW_MS, 1.0), (NOW_MS + 1, 2.0)]);
    let request = post("/api/v1/write", V1).header("x-scope-orgid", "acme");
    h.ask(request.body(Body::from(body_v1(vec![bad()]))).unwrap()).await;
    let counter = r#"cairn_receive_rejected_samples_total{reason="missing_metric_name",tenant="acme"}"#;
    assert_eq!(h.metric(counter), 2.0);

    let ask = |tenant: &'static str, query: &str| {
        let request = Request::get(format!("/api/v1/status/rejected{query}")).header("thanos-tenant", tenant);
        h.ask(request.body(Body::empty()).unwrap())
    };
    let mine: serde_json::Value = serde_json::from_str(&ask("acme", "").await.text).unwrap();
    let entry = &mine["data"][0];
    assert_eq!((&entry["tenant"], &entry["series"]), (&"acme".into(), &r#"{n="1"}"#.into()));
    assert_eq!((&entry["reason"], &entry["samples"]), (&"missing_metric_name".into(), &2.into()));
    let others: serde_json::Value = serde_json::from_str(&ask("other", "?limit=5").await.text).unwrap();
    assert_eq!(others["data"], serde_json::json!([]));
    assert_eq!(ask("../x", "").await.status, 400);
}
