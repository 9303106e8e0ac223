//! Endpoints that tell what this server is.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use cairn_model::datetime::rfc3339_short;
use cairn_net::ApiError;
use serde::Serialize;

use super::answer::Answer;
use super::error::Failure;
use super::{Api, QueryApi};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo<'a> {
    version: &'a str,
    revision: &'a str,
    branch: &'a str,
    build_user: &'a str,
    build_date: &'a str,
    go_version: &'a str,
}

/// What the status pages tell of the process and never changes; known to who started it.
#[derive(Debug, Clone, Default)]
pub struct ServerFacts {
    /// Every flag with its value, without secrets.
    pub flags: BTreeMap<String, String>,
    /// The configuration in force as YAML, without secrets.
    pub config_yaml: String,
    /// Folder the process was started in.
    pub working_dir: String,
    /// Name of the machine.
    pub hostname: String,
    /// Memory budget in bytes.
    pub memory_limit_bytes: u64,
    /// How long samples stay on this node, for instance `24h`.
    pub storage_retention: String,
}

/// What changes while the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerNow {
    /// Whether the last attempt to read the configuration succeeded.
    pub reload_successful: bool,
    /// When the configuration in force was read.
    pub config_read_ms: i64,
    /// Damaged places found in the write-ahead log since the start.
    pub wal_corruptions: u64,
    /// Background work that is running.
    pub tasks: usize,
}

/// Tells [`ServerNow`]; joined by the wiring to those who know. Asked once a request, so it must be cheap.
pub trait ServerState: Send + Sync {
    /// As it is now.
    fn now(&self) -> ServerNow;
}

/// What the binary has handed over.
pub(super) struct Server {
    facts: ServerFacts,
    state: Arc<dyn ServerState>,
}

impl Server {
    pub(super) fn new(facts: ServerFacts, state: Arc<dyn ServerState>) -> Self {
        Server { facts, state }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo<'a> {
    start_time: String,
    #[serde(rename = "CWD")]
    cwd: &'a str,
    hostname: &'a str,
    server_time: String,
    reload_config_success: bool,
    last_config_time: String,
    corruption_count: u64,
    goroutine_count: usize,
    #[serde(rename = "GOMAXPROCS")]
    gomaxprocs: usize,
    #[serde(rename = "GOMEMLIMIT")]
    gomemlimit: u64,
    #[serde(rename = "GOGC")]
    gogc: &'a str,
    #[serde(rename = "GODEBUG")]
    godebug: &'a str,
    storage_retention: &'a str,
}

/// `/api/v1/status/runtimeinfo`. What belongs to Go's runtime is what comes nearest (background tasks, computing threads,
/// memory budget) or empty.
pub async fn runtimeinfo(State(api): State<Api>) -> Result<Answer, Failure> {
    let Server { facts, state } = api.server()?;
    let now = state.now();
    json(&RuntimeInfo {
        start_time: rfc3339_short(api.started_ms),
        cwd: &facts.working_dir,
        hostname: &facts.hostname,
        server_time: rfc3339_short(api.runtime.clock.now_ms()),
        reload_config_success: now.reload_successful,
        last_config_time: rfc3339_short(now.config_read_ms),
        corruption_count: now.wal_corruptions,
        goroutine_count: now.tasks,
        gomaxprocs: api.runtime.cpu.parallelism(),
        gomemlimit: facts.memory_limit_bytes,
        gogc: "",
        godebug: "",
        storage_retention: &facts.storage_retention,
    })
}

/// `/api/v1/status/flags`
pub async fn flags(State(api): State<Api>) -> Result<Answer, Failure> {
    json(&api.server()?.facts.flags)
}

/// `/api/v1/status/config`
pub async fn config(State(api): State<Api>) -> Result<Answer, Failure> {
    json(&serde_json::json!({ "yaml": api.server()?.facts.config_yaml }))
}

/// `/api/v1/status/walreplay`. The log is replayed before requests are answered, so there is nothing left of it.
pub async fn walreplay() -> Answer {
    Answer::of(br#"{"min":0,"max":0,"current":0}"#.to_vec())
}

impl QueryApi {
    fn server(&self) -> Result<&Server, Failure> {
        let unknown =
            || Failure(ApiError::NotImplemented("this role does not tell its configuration".into()));
        self.server.get().ok_or_else(unknown)
    }
}

/// `/api/v1/status/buildinfo`. Clients read it to tell servers apart.
pub async fn buildinfo(State(api): State<Api>) -> Result<Answer, Failure> {
    json(&BuildInfo {
        version: &api.options.version,
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    })
}

/// An answer from a structure.
pub fn json(value: &impl Serialize) -> Result<Answer, Failure> {
    serde_json::to_vec(value).map(Answer::of).map_err(|e| Failure::bad_data(e.to_string()))
}
