//! A panic is our fault, and no sender's end.

use std::path::PathBuf;

use cairn_receiver::ReceiverConfig;
use cairn_runtime::Disk;

use crate::harness::*;

#[tokio::test]
async fn a_panic_is_503_twice_and_then_the_body_is_refused_and_kept() {
    let dir = PathBuf::from("/quarantine");
    let h = Harness::with(ReceiverConfig { quarantine_dir: Some(dir.clone()), ..ReceiverConfig::default() });
    *h.store.panic_at.lock() = Some("bad".to_owned());
    for _ in 0..2 {
        let answer = h.v2(vec![series("bad")]).await;
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.written()),
            (503, Some("2"), Some([0, 0, 0]))
        );
        assert_eq!(h.v2(vec![series("good")]).await.status, 204, "the next request works");
    }
    let kept =
        |text: &str| text.split("kept as ").nth(1).and_then(|t| t.split(' ').next()).map(str::to_owned);
    let third = h.v2(vec![series("bad")]).await;
    assert_eq!(third.status, 400);
    let name = kept(&third.text).unwrap_or_else(|| panic!("{}", third.text));
    assert_eq!(h.disk.read(&dir.join(&name)).unwrap(), body_v2(vec![series("bad")]));
    // From now on it is not even tried.
    *h.store.panic_at.lock() = None;
    let fourth = h.v2(vec![series("bad")]).await;
    assert_eq!((fourth.status, kept(&fourth.text)), (400, Some(name)));
    assert_eq!(
        h.v2(vec![series("bad"), series("good")]).await.status,
        204,
        "another body with the same series"
    );
    assert_eq!(h.metric("cairn_receive_panics_total"), 3.0);
}
