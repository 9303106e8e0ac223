//! The write endpoints: checks that need no body, then the answer that the status contract asks for.
//!
//! Order of checks: method, content type, content encoding, declared size, tenant, then the body (snappy,
//! protobuf), then rate, store, verdicts. A request that breaks several rules gets the first one's status. After an
//! early refusal the body is read on and thrown away, so that the client, who is still sending, reads the answer.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use bytes::Bytes;
use cairn_model::tenant::TenantScope;
use cairn_net::ApiError;
use cairn_net::body::BodyReader;
use cairn_net::tenant;
use cairn_proto::Version;
use cairn_proto::content::{check_encoding, version_of};
use futures::FutureExt;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use tracing::error;

use crate::receiver::Receiver;
use crate::size::SizeLimits;
use crate::write::{Outcome, WriteError, panicked, quarantined};

const SAMPLES_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName =
    HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// Entries of `/api/v1/status/rejected` when no limit is asked for.
const DEFAULT_JOURNAL_ENTRIES: usize = 100;

/// Whose habit of success a path follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Thanos' path: 200 for 1.0.
    Thanos,
    /// Prometheus' and Mimir's: 204.
    Prometheus,
}

impl Receiver {
    /// The write endpoints and the journal of refusals. The same router serves every port.
    pub fn routes(self: &Arc<Self>) -> Router {
        let write = |dialect| any(move |State(r): State<Arc<Receiver>>, request| r.answer(dialect, request));
        Router::new()
            .route("/api/v1/receive", write(Dialect::Thanos))
            .route("/api/v1/write", write(Dialect::Prometheus))
            .route("/api/v1/push", write(Dialect::Prometheus))
            .route("/api/v1/otlp", any(otlp))
            .route("/api/v1/otlp/v1/metrics", any(otlp))
            .route("/api/v1/status/rejected", get(rejected))
            .with_state(self.clone())
    }

    async fn answer(self: Arc<Self>, dialect: Dialect, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let version = version_of(text(&parts.headers, &CONTENT_TYPE).as_deref());
        let declared = body.size_hint().exact();
        let mut body = BodyReader::new(body, self.runtime.clock.clone(), self.config.body_timeout);

        let checked = self.check_head(&parts.method, &parts.headers, version.clone(), declared);
        let expects = parts.headers.contains_key(EXPECT);
        let (result, body_wanted) = match checked {
            // A client that waits for our word has not sent its body and shall not.
            Err(e) => (Err(e), !expects),
            Ok((version, tenant)) => {
                let mut last_body = Bytes::new();
                let write = self.write(version, &tenant, &mut body, declared, &mut last_body);
                let result = match AssertUnwindSafe(write).catch_unwind().await {
                    Ok(result) => result,
                    Err(_) => Err(WriteError::Panicked),
                };
                let result = result.map_err(|e| match e {
                    WriteError::Refused(e) => e,
                    WriteError::Panicked => self.blame_body(&last_body),
                });
                if let Ok(outcome) = &result {
                    self.account(&tenant, outcome);
                }
                (result, true)
            }
        };
        if body_wanted {
            self.discard(body);
        }
        let response = respond(dialect, version.as_ref().ok().copied(), result);
        self.metrics.answered(version.ok(), response.status());
        response
    }

    /// Reads what is left of a body beside the answer and throws it away: the client gets its answer at once, and
    /// a connection that is closed while it still sends would lose it.
    fn discard(&self, body: BodyReader) {
        if !body.is_at_end() {
            let shutdown = self.runtime.tasks.shutdown().clone();
            self.runtime.tasks.spawn("discard_body", async move {
                tokio::select! {
                    _ = body.discard() => {}
                    () = shutdown.begun() => {}
                }
            });
        }
    }

    /// Everything that can be said before the body.
    fn check_head(
        &self,
        method: &Method,
        headers: &HeaderMap,
        version: Result<Version, cairn_proto::content::Unsupported>,
        declared: Option<u64>,
    ) -> Result<(Version, cairn_model::TenantId), ApiError> {
        if method != Method::POST {
            return Err(ApiError::MethodNotAllowed { allow: "POST" });
        }
        let version = version.map_err(|e| ApiError::UnsupportedMediaType(e.to_string()))?;
        check_encoding(text(headers, &CONTENT_ENCODING).as_deref())
            .map_err(|e| ApiError::UnsupportedMediaType(e.to_string()))?;
        SizeLimits::of_everybody(self).check_body(declared.unwrap_or(0))?;
        let tenant = tenant::tenant(headers).map_err(|e| ApiError::BadRequest(e.to_string()))?;
        let tenant = tenant.unwrap_or_else(|| self.config.default_tenant.clone());
        SizeLimits::of(self, &tenant).check_body(declared.unwrap_or(0))?;
        if let Some(reason) = &*self.held.load() {
            return Err(ApiError::unavailable(format!("cannot take in samples now: {reason}")));
        }
        Ok((version, tenant))
    }

    /// A request that panics again and again is refused by its body.
    fn blame_body(&self, body: &[u8]) -> ApiError {
        self.metrics.panicked();
        error!(bytes = body.len(), "write request ended by a panic");
        match self.quarantine.note_panic(body) {
            Some(name) => quarantined(&name),
            None => panicked(),
        }
    }

    fn account(&self, tenant: &cairn_model::TenantId, outcome: &Outcome) {
        self.metrics.stored(tenant.as_str(), outcome.floats, outcome.histograms, outcome.exemplars);
        let verdicts = &outcome.verdicts;
        if !verdicts.told().is_empty() {
            self.metrics.rejected(tenant.as_str(), verdicts.counts());
            self.journal.add(tenant, self.runtime.clock.now_ms(), verdicts.told());
        }
    }
}

/// The status contract.
fn respond(dialect: Dialect, version: Option<Version>, result: Result<Outcome, ApiError>) -> Response {
    let mut written = [0; 3];
    let mut response = match result {
        Err(e) => e.into_response(),
        Ok(outcome) => {
            written = [outcome.floats, outcome.histograms, outcome.exemplars];
            if outcome.verdicts.is_failure() {
                let stored = outcome.floats + outcome.histograms;
                let message = outcome.verdicts.message(stored);
                ApiError::BadRequest(message.trim_end().to_owned()).into_response()
            } else if dialect == Dialect::Thanos && version == Some(Version::V1) {
                StatusCode::OK.into_response()
            } else {
                StatusCode::NO_CONTENT.into_response()
            }
        }
    };
    if version == Some(Version::V2) {
        for (header, n) in [SAMPLES_WRITTEN, HISTOGRAMS_WRITTEN, EXEMPLARS_WRITTEN].into_iter().zip(written) {
            response.headers_mut().insert(header, HeaderValue::from(n));
        }
    }
    response
}

/// A header as text; what is no text cannot be a value that is known.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
}

async fn otlp(State(receiver): State<Arc<Receiver>>, request: Request) -> ApiError {
    let timeout = receiver.config.body_timeout;
    receiver.discard(BodyReader::new(request.into_body(), receiver.runtime.clock.clone(), timeout));
    ApiError::NotImplemented(
        "OTLP is not taken in yet: send remote write to /api/v1/write, for instance from an OpenTelemetry collector's prometheusremotewrite exporter".to_owned(),
    )
}

#[derive(Deserialize)]
struct RejectedQuery {
    limit: Option<usize>,
}

/// `/api/v1/status/rejected?limit=N`: the newest refusals, of the tenant that the headers name or of all.
async fn rejected(
    State(receiver): State<Arc<Receiver>>,
    headers: HeaderMap,
    Query(query): Query<RejectedQuery>,
) -> Response {
    let scope: TenantScope = match tenant::read_scope(&headers) {
        Ok(scope) => scope,
        Err(e) => return ApiError::BadRequest(e.to_string()).into_json_response(),
    };
    let entries = receiver.journal.newest(&scope, query.limit.unwrap_or(DEFAULT_JOURNAL_ENTRIES));
    let data: Vec<_> = entries
        .iter()
        .map(|e| {
            serde_json::json!({
                "time": e.at_ms,
                "tenant": e.tenant.as_str(),
                "series": &*e.rejection.labels,
                "timestamp": e.rejection.t_ms,
                "samples": e.rejection.samples,
                "reason": e.rejection.reason.as_label(),
                "message": e.rejection.reason.to_string(),
            })
        })
        .collect();
    axum::Json(serde_json::json!({ "status": "success", "data": data })).into_response()
}
