//! Bodies larger than they look, and more of them than fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cairn_model::TenantId;
use cairn_proto::encode::snappy_block;
use cairn_receiver::{Limits, ReceiverConfig, TenantLimits};
use futures::StreamExt;

use crate::harness::*;

const USED: &str = "cairn_receive_admission_used_bytes";

/// A snappy block of a few bytes that claims `len`.
fn claim(mut len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes
}

#[tokio::test]
async fn a_body_that_claims_too_much_is_413_and_takes_nothing() {
    let h = Harness::new();
    for len in [(128 << 20) + 1, 256 << 20, 1 << 30, u64::from(u32::MAX)] {
        let answer = h.post("/api/v1/write", V2, claim(len)).await;
        assert_eq!(answer.status, 413, "{len}");
        assert!(
            answer.text.contains(&format!("{len} bytes decompressed: limit 134217728")),
            "{}",
            answer.text
        );
        assert_eq!(answer.written(), Some([0, 0, 0]));
    }
    assert_eq!(
        h.post("/api/v1/write", V1, claim(128 << 20)).await.status,
        400,
        "as large as may be, and a lie"
    );
    assert_eq!(h.metric(USED), 0.0);
}

#[tokio::test]
async fn a_tenant_may_be_held_to_smaller_requests_than_others() {
    let small = |edit: fn(&mut TenantLimits)| {
        let mut limits = TenantLimits::default();
        edit(&mut limits);
        Limits { tenants: [(TenantId::new("small").unwrap(), Arc::new(limits))].into(), ..Limits::default() }
    };
    let h = Harness::new();
    let many: Vec<_> = (0..30).map(|i| series(&format!("m{i}"))).collect();
    let send = async |tenant: &str, streamed: bool| {
        let body = body_v2(many.clone());
        let body = match streamed {
            true => Body::from_stream(futures::stream::iter(
                body.chunks(64)
                    .map(|c| Ok::<_, std::io::Error>(Bytes::copy_from_slice(c)))
                    .collect::<Vec<_>>(),
            )),
            false => Body::from(body),
        };
        h.ask(post("/api/v1/write", V2).header("thanos-tenant", tenant).body(body).unwrap()).await
    };
    type Edit = fn(&mut TenantLimits);
    let rows: [(Edit, &str); 4] = [
        (|l| l.body_bytes = 100, "limit 100 of tenant small"),
        (|l| l.decoded_bytes = 200, "bytes decompressed: limit 200 of tenant small"),
        (|l| l.series_per_request = 29, "30 series: limit 29 of tenant small"),
        (|l| l.samples_per_request = 29, "30 samples: limit 29 of tenant small"),
    ];
    for (edit, says) in rows {
        h.limits.replace(small(edit));
        for streamed in [false, true] {
            let answer = send("small", streamed).await;
            assert_eq!(answer.status, 413, "{says}: {}", answer.text);
            assert!(answer.text.contains(says), "{says}: {}", answer.text);
            assert_eq!(answer.written(), Some([0, 0, 0]));
        }
        assert!(h.store.series_names().is_empty(), "{says}: nothing of it is stored");
    }
    assert_eq!(send("other", false).await.status, 204);
    // A tenant's limit above the receiver's own changes nothing.
    h.limits.replace(small(|l| l.decoded_bytes = 1 << 40));
    let lie = post("/api/v1/write", V2).header("thanos-tenant", "small");
    let answer = h.ask(lie.body(Body::from(claim((128 << 20) + 1))).unwrap()).await;
    assert!(answer.status == 413 && answer.text.contains("--remote-write.max-decoded"), "{}", answer.text);
}

#[tokio::test]
async fn a_body_without_length_is_cut_off_at_the_limit() {
    let h = Harness::with(ReceiverConfig::default().within(16 << 20));
    let pieces =
        futures::stream::repeat(Bytes::from(vec![0; 64 << 10])).take(200).map(Ok::<_, std::io::Error>);
    let request = post("/api/v1/write", V1).body(Body::from_stream(pieces)).unwrap();
    let answer = h.ask(request).await;
    assert_eq!((answer.status, h.metric(USED)), (413, 0.0), "{}", answer.text);
}

#[tokio::test]
async fn a_body_whose_first_bytes_claim_too_much_is_refused_before_the_rest_comes() {
    let h = Harness::new();
    let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(claim(256 << 20)))]);
    let request = post("/api/v1/write", V1).body(Body::from_stream(first.chain(futures::stream::pending())));
    let answer = h.ask(request.unwrap()).await;
    assert_eq!((answer.status, h.metric(USED)), (413, 0.0), "{}", answer.text);
}

#[tokio::test]
async fn a_refused_body_is_read_on_to_a_bound() {
    let h = Harness::new();
    let read = Arc::new(AtomicU64::new(0));
    let (count, piece) = (read.clone(), Bytes::from(vec![0; 1 << 20]));
    let pieces = futures::stream::repeat_with(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Ok::<_, std::io::Error>(piece.clone())
    });
    let request = post("/api/v1/write", "text/plain").body(Body::from_stream(pieces)).unwrap();
    assert_eq!(h.ask(request).await.status, 415);
    // Reading on happens beside the answer; this waits for it.
    assert!(h.runtime.tasks.stop(&*h.runtime.clock, Duration::from_secs(1)).await);
    assert!(read.load(Ordering::Relaxed) <= 33);
}

#[tokio::test]
async fn a_client_that_waits_for_our_word_is_told_no_without_its_body() {
    let h = Harness::new();
    let body =
        Body::from_stream(futures::stream::poll_fn(|_| -> std::task::Poll<Option<std::io::Result<Bytes>>> {
            panic!("the body was asked for")
        }));
    let request = post("/api/v1/write", "text/plain").header("expect", "100-continue").body(body).unwrap();
    assert_eq!(h.ask(request).await.status, 415);
}

#[tokio::test]
async fn requests_beyond_the_budget_are_503_and_come_in_later() {
    let h = Harness::with(ReceiverConfig::default().within(8 << 20));
    *h.store.stuck.lock() = true;
    // Each takes a quarter of the budget and stays.
    let big = || {
        let padding = [&[0x7a, 0x80, 0x80, 0x40][..], &vec![0; 1 << 20]].concat();
        let mut body = cairn_proto::encode::encode_v1(&cairn_proto::encode::WriteRequest {
            series: vec![series("m")],
            ..Default::default()
        });
        body.extend(padding);
        snappy_block(&body)
    };
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(h.post("/api/v1/write", V1, big()))).collect();
    for request in &mut waiting {
        assert!(futures::poll!(request).is_pending());
    }
    assert!(
        h.metric(USED) > f64::from(6 << 20) && h.metric(USED) <= f64::from(8 << 20),
        "{}",
        h.metric(USED)
    );
    let refused = h.post("/api/v1/write", V1, big()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert!(refused.text.contains("cannot take in more requests now"), "{}", refused.text);
    assert_eq!(h.metric("cairn_receive_admission_refused_total"), 1.0);
    drop(waiting);
    assert_eq!(h.metric(USED), 0.0, "a client that goes away gives its share back");
    *h.store.stuck.lock() = false;
    assert_eq!(h.post("/api/v1/write", V1, big()).await.status, 204);
}

/// `number` with wire type 2 and `bytes`.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(claim(bytes.len() as u64));
    out.extend_from_slice(bytes);
    out
}

#[tokio::test]
async fn what_is_small_on_the_wire_and_large_in_memory_is_bounded() {
    let name = field(1, &[field(1, b"__name__"), field(2, b"m")].concat());
    let time: Vec<u8> = std::iter::once(0x78).chain(claim(NOW_MS as u64)).collect();
    let megabytes = 3 << 20;
    let repeated = |unit: Vec<u8>| unit.repeat(megabytes / unit.len());
    for (what, content_type, body) in [
        ("empty series", V1, repeated(vec![0x0a, 0])),
        ("labels of two bytes", V1, field(1, &repeated(vec![0x0a, 0]))),
        ("histograms of a few bytes", V1, field(1, &[name.clone(), repeated(field(4, &time))].concat())),
        ("samples of two bytes", V1, field(1, &[name.clone(), repeated(vec![0x12, 0])].concat())),
        ("exemplars of two bytes", V1, field(1, &[name.clone(), repeated(vec![0x1a, 0])].concat())),
        ("metadata of a few bytes", V1, repeated(vec![0x1a, 5, 0x08, 1, 0x12, 1, b'a'])),
        ("symbols of two bytes", V2, repeated(vec![0x22, 0])),
        ("references of one byte", V2, [field(4, b"a"), field(5, &field(1, &vec![0; megabytes]))].concat()),
        ("series of two bytes", V2, repeated(vec![0x2a, 0])),
        ("bad series", V2, repeated(field(5, &[0x0a, 1, 9, 0x12, 0]))),
    ] {
        let h = Harness::with(ReceiverConfig::default().within(32 << 20));
        let answer = h.post("/api/v1/write", content_type, snappy_block(&body)).await;
        assert!([204, 400, 503].contains(&answer.status), "{what}: {} {}", answer.status, answer.text);
        assert!(answer.text.len() < 16 << 10, "{what}");
        assert_eq!(h.metric(USED), 0.0, "{what}");
        if what.starts_with("histograms") {
            assert_eq!(answer.status, 503, "{what}: {}", answer.text);
        }
    }
}
