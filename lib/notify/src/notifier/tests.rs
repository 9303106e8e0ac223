use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use cairn_model::Labels;
use cairn_runtime::{MemDisk, TcpNet};

use super::*;
use crate::alert::AlertState;
use crate::transport::{HttpTransport, TransportError};

/// Answers by a script, then accepts; remembers bodies that were accepted.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<TransportError>>,
    /// Alerts with this in their body are refused.
    poison: Option<&'static str>,
    accepted: Mutex<Vec<String>>,
    tries: Mutex<usize>,
}

#[async_trait]
impl Transport for Scripted {
    async fn post(&self, _to: &AlertmanagerUrl, body: Vec<u8>) -> Result<(), TransportError> {
        *self.tries.lock() += 1;
        let body = String::from_utf8(body).unwrap();
        if let Some(error) = self.answers.lock().pop_front() {
            return Err(error);
        }
        if self.poison.is_some_and(|poison| body.contains(poison)) {
            return Err(TransportError::Refused { status: 400, body: "bad alert".to_owned() });
        }
        self.accepted.lock().push(body);
        Ok(())
    }
}

fn update(name: &str) -> AlertUpdate {
    AlertUpdate {
        labels: Labels::from_pairs([("alertname", name)]).unwrap(),
        annotations: Labels::empty(),
        starts_at_ms: 0,
        generator_url: String::new(),
        state: AlertState::Firing { valid_for_ms: 1 },
    }
}

fn runtime() -> Runtime {
    Runtime::simulated(1, 0, Arc::new(TcpNet), Arc::new(MemDisk::default()))
}

fn notifier(runtime: &Runtime, transport: &Arc<Scripted>) -> Notifier {
    let options = NotifierOptions {
        alertmanagers: vec![AlertmanagerUrl::parse("http://am:9093").unwrap()],
        outbox_dir: Some(Path::new("/data/outbox").to_owned()),
    };
    Notifier::new(options, transport.clone(), runtime)
}

async fn until(runtime: &Runtime, mut done: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        runtime.clock.sleep(Duration::from_millis(100)).await;
    }
    panic!("it never came to that");
}

fn away() -> TransportError {
    TransportError::Retry("connection refused".to_owned())
}

#[tokio::test(start_paused = true)]
async fn an_alertmanager_that_is_down_gets_everything_when_it_is_back() {
    let runtime = runtime();
    let transport = Arc::new(Scripted { answers: Mutex::new(vec![away(); 6].into()), ..Scripted::default() });
    let notifier = notifier(&runtime, &transport);
    notifier.start(&runtime);
    for n in 0..600 {
        notifier.submit(&[update(&format!("a{n}"))]);
    }
    until(&runtime, || notifier.waiting() == 0).await;
    let posted = transport.accepted.lock().concat();
    for n in 0..600 {
        assert_eq!(posted.matches(&format!("\"a{n}\"")).count(), 1, "a{n}");
    }
    let metrics = runtime.metrics.render();
    assert!(
        metrics.contains(
            "prometheus_notifications_sent_total{alertmanager=\"http://am:9093/api/v2/alerts\"} 600"
        )
    );
    assert!(
        metrics.contains(
            "prometheus_notifications_errors_total{alertmanager=\"http://am:9093/api/v2/alerts\"} 6"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn one_alert_that_is_refused_does_not_take_others_with_it() {
    let runtime = runtime();
    let transport = Arc::new(Scripted { poison: Some("\"a7\""), ..Scripted::default() });
    let notifier = notifier(&runtime, &transport);
    for n in 0..40 {
        notifier.submit(&[update(&format!("a{n}"))]);
    }
    notifier.start(&runtime);
    until(&runtime, || notifier.waiting() == 0).await;
    let posted = transport.accepted.lock().concat();
    assert_eq!(posted.matches("alertname").count(), 39);
    assert!(*transport.tries.lock() < 16, "halving finds one of forty in few posts");
    assert!(
        runtime
            .metrics
            .render()
            .contains("cairn_notifications_refused_total{alertmanager=\"http://am:9093/api/v2/alerts\"} 1")
    );
}

#[tokio::test(start_paused = true)]
async fn undelivered_alerts_survive_a_restart() {
    let first = runtime();
    let dead = Arc::new(Scripted { answers: Mutex::new(vec![away(); 1000].into()), ..Scripted::default() });
    let before = notifier(&first, &dead);
    before.start(&first);
    before.submit(&[update("a"), update("b")]);
    first.clock.sleep(Duration::from_secs(5)).await;
    assert!(first.tasks.stop(&*first.clock, Duration::from_secs(60)).await);

    let second = Runtime { disk: first.disk.clone(), ..runtime() };
    let alive = Arc::new(Scripted::default());
    let after = notifier(&second, &alive);
    assert_eq!(after.waiting(), 2);
    after.start(&second);
    until(&second, || after.waiting() == 0).await;
    assert_eq!(alive.accepted.lock().concat().matches("alertname").count(), 2);
    second.clock.sleep(Duration::from_secs(2)).await;
    assert!(
        second.disk.list(Path::new("/data/outbox")).unwrap().is_empty(),
        "an empty outbox leaves no file"
    );
}

#[tokio::test]
async fn statuses_of_a_real_server_are_told_apart() {
    use cairn_runtime::Net;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpNet.bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix", listener.local_addr().unwrap());
    let server = async {
        let mut paths = Vec::new();
        for answer in ["200 OK", "400 Bad Request", "503 Service Unavailable", "404 Not Found"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"[]") {
                head.push(stream.read_u8().await.unwrap());
            }
            paths.push(String::from_utf8(head).unwrap().lines().next().unwrap().to_owned());
            let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        paths
    };
    let client = async {
        let transport = HttpTransport::new(Duration::from_secs(10)).unwrap();
        let url = AlertmanagerUrl::parse(&url).unwrap();
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(transport.post(&url, b"[]".to_vec()).await);
        }
        answers
    };
    let (paths, answers) = futures::join!(server, client);
    assert!(paths.iter().all(|path| path == "POST /prefix/api/v2/alerts HTTP/1.1"), "{paths:?}");
    assert_eq!(answers[0], Ok(()));
    assert_eq!(answers[1], Err(TransportError::Refused { status: 400, body: "no".to_owned() }));
    assert!(matches!(&answers[2], Err(TransportError::Retry(_))));
    assert!(matches!(&answers[3], Err(TransportError::Retry(_))), "a wrong prefix loses no alert");
}

#[tokio::test]
async fn nobody_listening_is_worth_a_retry() {
    let transport = HttpTransport::new(Duration::from_secs(10)).unwrap();
    let url = AlertmanagerUrl::parse("http://127.0.0.1:1").unwrap();
    assert!(matches!(transport.post(&url, Vec::new()).await, Err(TransportError::Retry(_))));
}
