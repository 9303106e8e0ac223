//! `/api/v1/…` as Prometheus serves it.
//!
//! A request passes [`edge`] (origins, gzip), then [`params`] reads it. [`query`] evaluates, [`discover`] finds series
//! and labels, [`metadata`] what they mean, [`language`] works on expressions alone, [`status`], [`cardinality`] and
//! [`features`] tell what this server is and holds, [`scrape`] says that it scrapes nothing; [`answer`], [`encode`] and
//! [`error`] write the JSON, [`arrow`] the other form of results. [`thanos`] reads the parameters that Thanos adds.
//! Endpoints that Prometheus has and cairn does not are a 501 with a reason, not an empty success.

mod answer;
mod arrow;
mod cardinality;
mod discover;
mod edge;
mod encode;
mod error;
mod features;
mod language;
mod metadata;
mod params;
mod query;
mod scrape;
mod status;
mod thanos;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use cairn_net::ApiError;
use cairn_promql::engine::Engine;
use cairn_runtime::Runtime;
use tokio::sync::Semaphore;

use crate::fanout::Fanout;
pub use edge::{edge, not_found};
use error::Failure;
pub use params::parse_time;
pub use status::{ServerFacts, ServerNow, ServerState};

/// How the API answers.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Version of this program.
    pub version: String,
    /// Evaluations at the same time; more wait.
    pub max_concurrent: usize,
    /// Longest time an evaluation may take; a request can ask for less.
    pub timeout_ms: i64,
    /// Labels that tell replicas apart; without any, series are not deduplicated unless a request names some.
    pub replica_labels: Vec<String>,
    /// Whether range queries that do not say how coarse data may be read what fits their step.
    pub auto_downsampling: bool,
}

/// The API over one engine and all stores.
pub struct QueryApi {
    engine: Engine,
    fanout: Fanout,
    runtime: Runtime,
    options: ApiOptions,
    slots: Arc<Semaphore>,
    started_ms: i64,
    server: OnceLock<status::Server>,
}

type Api = Arc<QueryApi>;

impl QueryApi {
    /// Evaluates with `engine` over `fanout`.
    pub fn new(engine: Engine, fanout: Fanout, runtime: Runtime, options: ApiOptions) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(options.max_concurrent.max(1)));
        let started_ms = runtime.clock.now_ms();
        Arc::new(QueryApi { engine, fanout, runtime, options, slots, started_ms, server: OnceLock::new() })
    }

    /// What the status pages tell of this process; the first call counts. Before it they are a 501.
    pub fn describe(&self, facts: ServerFacts, state: Arc<dyn ServerState>) {
        let _ = self.server.set(status::Server::new(facts, state));
    }

    /// The routes, to be merged into a server's.
    pub fn router(self: Arc<Self>) -> Router {
        let cpu = self.runtime.cpu.clone();
        let routes = Router::new()
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
            .route("/api/v1/status/config", get(status::config))
            .route("/api/v1/status/flags", get(status::flags))
            .route("/api/v1/status/runtimeinfo", get(status::runtimeinfo))
            .route("/api/v1/status/walreplay", get(status::walreplay))
            .route("/api/v1/status/tsdb", get(cardinality::tsdb))
            .route("/api/v1/features", get(features::features))
            .route("/api/v1/targets", get(scrape::targets))
            .route("/api/v1/targets/metadata", get(scrape::targets_metadata))
            .route("/api/v1/targets/relabel_steps", get(scrape::relabel_steps))
            .route("/api/v1/scrape_pools", get(scrape::scrape_pools))
            .route("/api/v1/notifications", get(scrape::notifications))
            .route("/api/v1/{*rest}", any(not_here))
            .with_state(self);
        edge::edge(routes, cpu)
    }
}

/// Endpoints of Prometheus that are not built here, by the beginning of their path below `/api/v1/`.
const NOT_BUILT: [&str; 7] = [
    "read",
    "search/",
    "admin/tsdb/",
    "notifications/live",
    "openapi.yaml",
    "status/self_metrics",
    "status/tsdb/blocks",
];

async fn not_here(request: axum::extract::Request) -> Response {
    let path = request.uri().path().to_owned();
    let below = path.strip_prefix("/api/v1/").unwrap_or("");
    if !NOT_BUILT.iter().any(|p| below.starts_with(p)) {
        return edge::not_found(request.uri().clone()).await;
    }
    let why = format!("{path} is not available in this version; see docs/gaps.md");
    Failure(ApiError::NotImplemented(why)).into_response()
}
