//! Endpoints that tell what this server is.

use axum::extract::State;
use serde::Serialize;

use super::Api;
use super::answer::Answer;
use super::error::Failure;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo<'a> {
    version: &'a str,
    revision: &'a str,
    branch: &'a str,
    build_user: &'a str,
    build_date: &'a str,
    go_version: &'a str,
    application: &'a str,
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
        application: "cairn",
    })
}

/// An answer from a structure.
pub fn json(value: &impl Serialize) -> Result<Answer, Failure> {
    serde_json::to_vec(value).map(Answer::of).map_err(|e| Failure::bad_data(e.to_string()))
}
