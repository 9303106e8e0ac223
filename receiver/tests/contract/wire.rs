//! Over real sockets: what a client sees that sends more than we want to hear.

use cairn_net::{HttpStack, ServerConfig};
use cairn_runtime::{Net, Stream, TcpNet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::*;

async fn connect(h: &Harness) -> Box<dyn Stream> {
    let bound = HttpStack::new(&h.runtime).bind("127.0.0.1:0", ServerConfig::named("write")).await.unwrap();
    let addr = bound.local_addr().to_string();
    bound.serve(h.router.clone());
    TcpNet.connect(&addr).await.unwrap()
}

fn head(content_type: &str, len: u64) -> String {
    format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n\r\n"
    )
}

/// The next answer's status; its body is read too.
async fn status(stream: &mut dyn Stream) -> u16 {
    let mut got = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&got).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.lines().find_map(|l| l.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |l| l.trim().parse().unwrap());
            if got.len() >= end + 4 + length {
                return text.split(' ').nth(1).unwrap().parse().unwrap();
            }
        }
        assert_ne!(stream.read_buf(&mut got).await.unwrap(), 0, "the connection ended after {text:?}");
    }
}

#[tokio::test]
async fn a_client_that_is_still_sending_reads_its_refusal_and_goes_on() {
    let h = Harness::new();
    let mut c = connect(&h).await;
    // More than all socket buffers hold.
    let body = vec![0u8; 20 << 20];
    c.write_all(head("text/plain", body.len() as u64).as_bytes()).await.unwrap();
    c.write_all(&body).await.unwrap();
    assert_eq!(status(&mut *c).await, 415);
    let good = body_v1(vec![series("a")]);
    c.write_all(head(V1, good.len() as u64).as_bytes()).await.unwrap();
    c.write_all(&good).await.unwrap();
    assert_eq!(status(&mut *c).await, 204, "the connection is still good");
}

#[tokio::test]
async fn a_head_that_claims_a_gibibyte_is_answered_at_once() {
    let h = Harness::new();
    let mut c = connect(&h).await;
    c.write_all(head(V1, 1 << 30).as_bytes()).await.unwrap();
    c.write_all(&[0; 1000]).await.unwrap();
    assert_eq!(status(&mut *c).await, 413);
    assert_eq!(h.metric("cairn_receive_admission_used_bytes"), 0.0);
}
