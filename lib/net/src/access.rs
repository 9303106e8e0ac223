//! Counts requests by route, method and status, and turns a panic into an answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cairn_runtime::{Clock, Metrics, metrics::LATENCY_BUCKETS_S};
use futures::FutureExt;
use prometheus::{HistogramVec, IntCounterVec, IntGauge};

use crate::error::ApiError;

/// Metrics of all HTTP servers of a process.
#[derive(Clone)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
    panics: IntCounterVec,
    pub(crate) connections: IntGauge,
    pub(crate) connections_closed: IntCounterVec,
    clock: Arc<dyn Clock>,
}

impl HttpMetrics {
    /// Registers the metrics; once a process.
    pub fn new(metrics: &Metrics, clock: Arc<dyn Clock>) -> Self {
        HttpMetrics {
            requests: metrics.counter_vec(
                "cairn_http_requests_total",
                "HTTP requests by route, method and status.",
                &["handler", "method", "code"],
            ),
            seconds: metrics.histogram_vec(
                "cairn_http_request_duration_seconds",
                "Time from a request's head to its answer's head.",
                LATENCY_BUCKETS_S,
                &["handler"],
            ),
            panics: metrics.counter_vec(
                "cairn_http_panics_total",
                "Requests whose handler panicked.",
                &["handler"],
            ),
            connections: metrics.gauge("cairn_http_connections", "Open HTTP connections."),
            connections_closed: metrics.counter_vec(
                "cairn_http_connections_closed_total",
                "HTTP connections that have ended, by how.",
                &["how"],
            ),
            clock,
        }
    }

    /// `router` with counting around every route.
    pub fn wrap(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), count))
    }
}

async fn count(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    // Only routes become label values: paths and methods are the client's to choose.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let handler = route.as_ref().map_or("other", MatchedPath::as_str);
    let method = match request.method().as_str() {
        known @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let start = metrics.clock.monotonic();
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            metrics.panics.with_label_values(&[handler]).inc();
            tracing::error!(handler, "request ended by a panic");
            ApiError::Internal("internal error: the request ended by a panic, see the server's log".into())
                .into_response()
        }
    };
    let took = metrics.clock.monotonic().saturating_sub(start);
    metrics.seconds.with_label_values(&[handler]).observe(took.as_secs_f64());
    metrics.requests.with_label_values(&[handler, &method, response.status().as_str()]).inc();
    response
}
