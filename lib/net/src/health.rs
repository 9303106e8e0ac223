//! Probes and `/metrics`.
//!
//! A process is ready when every gate is open and shutdown has not begun. A gate stands for one thing that must
//! have happened, for instance the replay of the log; it says what is missing while it is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cairn_runtime::{Metrics, Shutdown};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use parking_lot::Mutex;

/// Media type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the process can do its work. Clones share the gates.
#[derive(Clone)]
pub struct Readiness {
    gates: Arc<Mutex<Vec<Gate>>>,
    shutdown: Shutdown,
}

/// One thing that must have happened. Clones share the state.
#[derive(Debug, Clone)]
pub struct Gate {
    missing: &'static str,
    open: Arc<AtomicBool>,
}

impl Gate {
    /// It has happened.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// It does not hold any more.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Whether it holds.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

impl Readiness {
    /// Ready until a gate is added.
    pub fn new(shutdown: Shutdown) -> Self {
        Readiness { gates: Arc::default(), shutdown }
    }

    /// Adds a closed gate; `missing` says what is being waited for, for instance "replaying the log".
    pub fn gate(&self, missing: &'static str) -> Gate {
        let gate = Gate { missing, open: Arc::default() };
        self.gates.lock().push(gate.clone());
        gate
    }

    /// What is missing, or `None` when the process is ready.
    pub fn missing(&self) -> Option<String> {
        if self.shutdown.has_begun() {
            return Some("shutting down".to_owned());
        }
        let closed: Vec<_> = self.gates.lock().iter().filter(|g| !g.is_open()).map(|g| g.missing).collect();
        (!closed.is_empty()).then(|| closed.join(", "))
    }
}

/// Answers everything with 503 and what is missing: for paths that a process cannot serve yet.
pub fn not_yet(readiness: Readiness) -> Router {
    let answer = move || async move {
        let missing = readiness.missing().unwrap_or_else(|| "starting".to_owned());
        let text = format!("not ready: {missing}; ask again in a moment\n");
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text)
    };
    Router::new().fallback(answer)
}

/// `/-/healthy`, `/-/ready` and `/metrics`.
pub fn routes(readiness: Readiness, metrics: Metrics) -> Router {
    let metrics = get(move || async move { ([(CONTENT_TYPE, TEXT_FORMAT)], metrics.render()) });
    Router::new()
        .route("/-/healthy", get(|| async { "cairn is Healthy.\n" }))
        .route("/-/ready", get(ready))
        .with_state(readiness)
        .route("/metrics", metrics)
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.missing() {
        None => "cairn is Ready.\n".into_response(),
        Some(missing) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("cairn is not ready: {missing}\n")).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn ask(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_says_what_is_missing() {
        let (shutdown, metrics) = (Shutdown::new(), Metrics::new());
        let readiness = Readiness::new(shutdown.clone());
        let (log, ring) = (readiness.gate("replaying the log"), readiness.gate("waiting for the ring"));
        metrics.counter("cairn_x_total", "X.").inc();
        let router = routes(readiness, metrics);
        let both = "cairn is not ready: replaying the log, waiting for the ring\n";
        assert_eq!(ask(&router, "/-/ready").await, (503, both.to_owned()));
        assert_eq!(ask(&router, "/-/healthy").await.0, 200);
        log.open();
        assert!(ask(&router, "/-/ready").await.1.contains("waiting for the ring"));
        ring.open();
        assert_eq!(ask(&router, "/-/ready").await.0, 200);
        ring.close();
        assert_eq!(ask(&router, "/-/ready").await.0, 503);
        ring.open();
        shutdown.begin();
        assert!(ask(&router, "/-/ready").await.1.contains("shutting down"));
        assert!(ask(&router, "/metrics").await.1.contains("cairn_x_total 1"));
    }
}
