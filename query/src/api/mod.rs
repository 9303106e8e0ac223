//! `/api/v1/…` as Prometheus serves it.
//!
//! [`params`] reads a request, [`query`] evaluates, [`discover`] finds series and labels, [`metadata`] what they mean, [`language`] works on
//! expressions alone, [`status`] tells what this server is; [`answer`], [`encode`] and [`error`] write the JSON.
//! Endpoints that Prometheus has and cairn does not are a 501 with a reason, not an empty success.

mod answer;
mod discover;
mod encode;
mod error;
mod language;
mod metadata;
mod params;
mod query;
mod status;

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use cairn_net::ApiError;
use cairn_promql::engine::Engine;
use cairn_runtime::Runtime;
use tokio::sync::Semaphore;

use crate::fanout::Fanout;
use error::Failure;

/// How the API answers.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Version of this program.
    pub version: String,
    /// Evaluations at the same time; more wait.
    pub max_concurrent: usize,
    /// Longest time an evaluation may take; a request can ask for less.
    pub timeout_ms: i64,
}

/// The API over one engine and all stores.
pub struct QueryApi {
    engine: Engine,
    fanout: Fanout,
    runtime: Runtime,
    options: ApiOptions,
    slots: Arc<Semaphore>,
}

type Api = Arc<QueryApi>;

impl QueryApi {
    /// Evaluates with `engine` over `fanout`.
    pub fn new(engine: Engine, fanout: Fanout, runtime: Runtime, options: ApiOptions) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(options.max_concurrent.max(1)));
        Arc::new(QueryApi { engine, fanout, runtime, options, slots })
    }

    /// The routes, to be merged into a server's.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/api/v1/query", get(query::instant).post(query::instant))
            .route("/api/v1/query_range", get(query::range).post(query::range))
            .route("/api/v1/labels", get(discover::labels).post(discover::labels))
            .route("/api/v1/label/{name}/values", get(discover::label_values))
            .route("/api/v1/series", get(discover::series).post(discover::series))
            .route("/api/v1/metadata", get(metadata::metadata))
            .route("/api/v1/query_exemplars", get(metadata::query_exemplars).post(metadata::query_exemplars))
            .route("/api/v1/format_query", get(language::format_query).post(language::format_query))
            .route("/api/v1/parse_query", get(language::parse_query).post(language::parse_query))
            .route("/api/v1/status/buildinfo", get(status::buildinfo))
            .route("/api/v1/{*rest}", any(not_here))
            .with_state(self)
    }
}

/// Endpoints that Prometheus has and this version does not.
async fn not_here(request: axum::extract::Request) -> Failure {
    let path = request.uri().path().to_owned();
    Failure(ApiError::NotImplemented(format!("{path} is not available in this version; see docs/gaps.md")))
}
