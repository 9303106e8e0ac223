//! Connections over an in-memory network in paused time: every timeout is exact and nothing is flaky.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use cairn_net::{HttpStack, Readiness, ServerConfig, Serving, health};
use cairn_runtime::{Listener, MemDisk, Net, Runtime, Stream};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};

const ADDR: &str = "127.0.0.1:80";
const REQUEST: &[u8] = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

/// One listener, whose connections are pipes.
#[derive(Default)]
struct PipeNet {
    backlog: Mutex<Option<mpsc::UnboundedSender<DuplexStream>>>,
}

struct PipeListener(tokio::sync::Mutex<mpsc::UnboundedReceiver<DuplexStream>>);

#[async_trait]
impl Net for PipeNet {
    async fn bind(&self, _addr: &str) -> io::Result<Box<dyn Listener>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        *self.backlog.lock() = Some(sender);
        Ok(Box::new(PipeListener(tokio::sync::Mutex::new(receiver))))
    }

    async fn connect(&self, _addr: &str) -> io::Result<Box<dyn Stream>> {
        let (client, server) = tokio::io::duplex(64 << 10);
        let backlog = self.backlog.lock();
        let sent = backlog.as_ref().is_some_and(|b| b.send(server).is_ok());
        if sent { Ok(Box::new(client)) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
    }
}

#[async_trait]
impl Listener for PipeListener {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
        match self.0.lock().await.recv().await {
            Some(stream) => Ok((Box::new(stream), ADDR.parse().unwrap())),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(ADDR.parse().unwrap())
    }
}

struct Harness {
    runtime: Runtime,
    serving: Serving,
    /// Lets `/slow` answer.
    release: Arc<Notify>,
    /// Told when `/slow` has begun.
    begun: Arc<Notify>,
}

async fn serve(config: ServerConfig) -> Harness {
    let runtime = Runtime::simulated(1, 0, Arc::new(PipeNet::default()), Arc::new(MemDisk::new()));
    runtime.clock.monotonic(); // time begins here
    let (release, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (released, beginning) = (release.clone(), begun.clone());
    let slow = move || {
        let (released, beginning) = (released.clone(), beginning.clone());
        async move {
            beginning.notify_one();
            released.notified().await;
            "slow"
        }
    };
    let router = Router::new().route("/hello", get(|| async { "hello" })).route("/slow", get(slow)).route(
        "/panic",
        get(|| async {
            if true {
                panic!("expected by the test")
            }
        }),
    );
    let serving = HttpStack::new(&runtime).bind(ADDR, config).await.unwrap().serve(router);
    Harness { runtime, serving, release, begun }
}

impl Harness {
    async fn connect(&self) -> Box<dyn Stream> {
        self.runtime.net.connect(ADDR).await.unwrap()
    }

    fn seconds(&self) -> u64 {
        self.runtime.clock.monotonic().as_secs()
    }

    fn metric(&self, line: &str) -> bool {
        self.runtime.metrics.render().lines().any(|l| l == line)
    }
}

/// Reads one answer: its head and `body_len` bytes.
async fn read_answer(stream: &mut dyn Stream, body_len: usize) -> String {
    let mut got = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&got);
        if text.find("\r\n\r\n").is_some_and(|head| got.len() >= head + 4 + body_len) {
            return text.into_owned();
        }
        let n = stream.read_buf(&mut got).await.unwrap();
        assert_ne!(n, 0, "the connection ended after {:?}", String::from_utf8_lossy(&got));
    }
}

/// Whether the other side has closed: reads what is left.
async fn until_closed(stream: &mut dyn Stream) {
    let mut rest = Vec::new();
    // Cut in the middle or closed politely, either is an end.
    let _ = stream.read_to_end(&mut rest).await;
}

fn config() -> ServerConfig {
    ServerConfig::named("test")
}

#[tokio::test(start_paused = true)]
async fn requests_follow_one_another_on_a_connection() {
    let h = serve(config()).await;
    let mut c = h.connect().await;
    for _ in 0..3 {
        c.write_all(REQUEST).await.unwrap();
        let answer = read_answer(&mut *c, 5).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        assert!(answer.contains("content-length: 5"), "{answer}");
    }
    assert!(h.metric(r#"cairn_http_requests_total{code="200",handler="/hello",method="GET"} 3"#));
    assert!(h.metric("cairn_http_connections 1"));
}

#[tokio::test(start_paused = true)]
async fn paths_and_methods_of_the_client_become_no_labels() {
    let h = serve(config()).await;
    let mut c = h.connect().await;
    c.write_all(b"BREW /tea HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_answer(&mut *c, 0).await.starts_with("HTTP/1.1 404"));
    assert!(h.metric(r#"cairn_http_requests_total{code="404",handler="other",method="other"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_arrive_ends_the_connection() {
    for start in [&b""[..], b"P", b"PRI * HT", b"GET /hello HTT", b"GET /hello HTTP/1.1\r\nHost:"] {
        let h = serve(config()).await;
        let mut c = h.connect().await;
        c.write_all(start).await.unwrap();
        until_closed(&mut *c).await;
        assert_eq!(h.seconds(), if start.starts_with(b"PRI") { 300 } else { 10 }, "{start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_head_has_the_same_time_as_the_first() {
    let h = serve(config()).await;
    let mut c = h.connect().await;
    c.write_all(REQUEST).await.unwrap();
    read_answer(&mut *c, 5).await;
    h.runtime.clock.sleep(Duration::from_secs(100)).await;
    c.write_all(b"GET /hel").await.unwrap();
    until_closed(&mut *c).await;
    assert_eq!(h.seconds(), 110);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_kept_for_a_while() {
    let h = serve(config()).await;
    let mut c = h.connect().await;
    for _ in 0..3 {
        c.write_all(REQUEST).await.unwrap();
        read_answer(&mut *c, 5).await;
        h.runtime.clock.sleep(Duration::from_secs(290)).await;
    }
    until_closed(&mut *c).await;
    assert_eq!(h.seconds(), 880);
}

#[tokio::test(start_paused = true)]
async fn an_idle_http2_connection_is_kept_too() {
    let h = serve(config()).await;
    let mut c = h.connect().await;
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    c.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    c.write_all(&settings).await.unwrap();
    h.runtime.clock.sleep(Duration::from_secs(200)).await;
    c.write_all(&settings).await.unwrap();
    until_closed(&mut *c).await;
    assert!(h.seconds() >= 300, "{}", h.seconds());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_long_is_not_interrupted() {
    let h = serve(config()).await;
    let mut c = h.connect().await;
    c.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    h.begun.notified().await;
    h.runtime.clock.sleep(Duration::from_secs(1000)).await;
    h.release.notify_one();
    assert!(read_answer(&mut *c, 4).await.ends_with("slow"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_answer_and_the_next_request_works() {
    let h = serve(config()).await;
    let mut c = h.connect().await;
    c.write_all(b"GET /panic HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(read_answer(&mut *c, 10).await.starts_with("HTTP/1.1 500"));
    let mut c = h.connect().await;
    c.write_all(REQUEST).await.unwrap();
    assert!(read_answer(&mut *c, 5).await.ends_with("hello"));
    assert!(h.metric(r#"cairn_http_panics_total{handler="/panic"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn connections_above_the_limit_wait_for_a_slot() {
    let h = serve(ServerConfig { max_connections: 1, ..config() }).await;
    let mut first = h.connect().await;
    first.write_all(REQUEST).await.unwrap();
    read_answer(&mut *first, 5).await;
    let mut second = h.connect().await;
    second.write_all(REQUEST).await.unwrap();
    let mut byte = [0];
    let early = tokio::select! {
        _ = second.read(&mut byte) => true,
        () = h.runtime.clock.sleep(Duration::from_secs(60)) => false,
    };
    assert!(!early, "the second connection was served beside the first");
    drop(first);
    assert!(read_answer(&mut *second, 5).await.ends_with("hello"));
}

#[tokio::test(start_paused = true)]
async fn shutdown_finishes_what_is_in_hand_and_closes_the_rest() {
    let h = serve(config()).await;
    let (mut busy, mut idle) = (h.connect().await, h.connect().await);
    idle.write_all(REQUEST).await.unwrap();
    read_answer(&mut *idle, 5).await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    h.begun.notified().await;
    h.runtime.tasks.shutdown().begin();
    until_closed(&mut *idle).await;
    assert_eq!(h.seconds(), 0, "an idle connection closes at once");
    assert!(h.runtime.net.connect(ADDR).await.is_err(), "the listener is closed");
    h.release.notify_one();
    let answer = read_answer(&mut *busy, 4).await;
    assert!(answer.contains("connection: close") && answer.ends_with("slow"), "{answer}");
    assert!(h.runtime.tasks.stop(&*h.runtime.clock, Duration::from_secs(1)).await);
}

#[tokio::test(start_paused = true)]
async fn shutdown_cuts_what_outlives_its_patience() {
    let h = serve(config()).await;
    let mut busy = h.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    h.begun.notified().await;
    h.runtime.tasks.shutdown().begin();
    until_closed(&mut *busy).await;
    assert_eq!(h.seconds(), 30);
    assert!(h.metric(r#"cairn_http_connections_closed_total{how="cut"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn routes_are_replaced_for_open_connections_too() {
    let h = serve(ServerConfig::named("test")).await;
    let readiness = Readiness::new(h.runtime.tasks.shutdown().clone());
    readiness.gate("replaying the log");
    h.serving.replace(health::not_yet(readiness));
    let mut stream = h.connect().await;
    stream.write_all(REQUEST).await.unwrap();
    let text = "not ready: replaying the log; ask again in a moment\n";
    let answer = read_answer(&mut *stream, text.len()).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.ends_with(text), "{answer}");
    h.serving.replace(Router::new().route("/hello", get(|| async { "there" })));
    stream.write_all(REQUEST).await.unwrap();
    let answer = read_answer(&mut *stream, 5).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("there"), "{answer}");
}
