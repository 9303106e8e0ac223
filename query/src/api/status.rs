//! Endpoints that tell what this server is.

use std::collections::BTreeMap;

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

/// What the status pages tell of the process, known to who started it.
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
    goroutine_count: u64,
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

/// `/api/v1/status/runtimeinfo`. What belongs to Go's runtime is what comes nearest (computing threads, memory
/// budget) or empty; the API is up only with a valid configuration, read at the start.
pub async fn runtimeinfo(State(api): State<Api>) -> Result<Answer, Failure> {
    let facts = api.facts()?;
    json(&RuntimeInfo {
        start_time: rfc3339_short(api.started_ms),
        cwd: &facts.working_dir,
        hostname: &facts.hostname,
        server_time: rfc3339_short(api.runtime.clock.now_ms()),
        reload_config_success: true,
        last_config_time: rfc3339_short(api.started_ms),
        corruption_count: 0,
        goroutine_count: 0,
        gomaxprocs: api.runtime.cpu.parallelism(),
        gomemlimit: facts.memory_limit_bytes,
        gogc: "",
        godebug: "",
        storage_retention: &facts.storage_retention,
    })
}

/// `/api/v1/status/flags`
pub async fn flags(State(api): State<Api>) -> Result<Answer, Failure> {
    json(&api.facts()?.flags)
}

/// `/api/v1/status/config`
pub async fn config(State(api): State<Api>) -> Result<Answer, Failure> {
    json(&serde_json::json!({ "yaml": api.facts()?.config_yaml }))
}

/// `/api/v1/status/walreplay`. The log is replayed before requests are answered, so there is nothing left of it.
pub async fn walreplay() -> Answer {
    Answer::of(br#"{"min":0,"max":0,"current":0}"#.to_vec())
}

impl QueryApi {
    fn facts(&self) -> Result<&ServerFacts, Failure> {
        let unknown =
            || Failure(ApiError::NotImplemented("this role does not tell its configuration".into()));
        self.facts.get().ok_or_else(unknown)
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
