//! What the receiver makes of a store's answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cairn_proto::encode::TimeSeries;

use crate::harness::*;

#[tokio::test]
async fn series_that_the_store_has_forgotten_are_sent_again_with_labels() {
    for version in [1, 2] {
        let h = Harness::new();
        let at = |t: i64| {
            let one =
                |name: &str| TimeSeries::floats(&[("__name__", name), ("job", "test")], &[(NOW_MS + t, 1.0)]);
            vec![one("a"), one("b"), one("c")]
        };
        let send = async |t: i64| if version == 1 { h.v1(at(t)).await } else { h.v2(at(t)).await };
        send(0).await;
        h.store.forget_references();
        let answer = send(1).await;
        assert_eq!((answer.status, answer.written()), (204, (version == 2).then_some([3, 0, 0])));
        assert_eq!(h.metric("cairn_receive_series_resent_total"), 3.0);
        assert!(h.store.samples().values().all(|s| s.len() == 2), "{:?}", h.store.samples());
        // The new references are used from now on.
        assert_eq!(send(2).await.status, 204);
        assert_eq!(h.metric("cairn_receive_series_resent_total"), 3.0);
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_503_in_time() {
    let h = Harness::new();
    *h.store.stuck.lock() = true;
    let request = h.v2(vec![series("a")]);
    tokio::pin!(request);
    assert!(futures::poll!(&mut request).is_pending());
    h.clock.advance(Duration::from_secs(25));
    let answer = request.await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    assert!(answer.text.contains("not known to be durable after 25s"), "{}", answer.text);
}

#[tokio::test]
async fn nothing_to_store_asks_no_store() {
    let h = Harness::new();
    h.v1(vec![TimeSeries::floats(&[("n", "1")], &[(NOW_MS, 1.0)])]).await;
    h.v1(vec![]).await;
    assert_eq!(h.store.batches.load(Ordering::Relaxed), 0);
}
