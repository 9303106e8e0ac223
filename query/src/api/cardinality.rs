//! `/status/tsdb`: what makes the series of the head, for the tenants that the caller may read.

use axum::extract::{Request, State};
use cairn_net::ApiError;

use super::Api;
use super::answer::Answer;
use super::discover::scope;
use super::error::Failure;
use super::params::Params;
use super::status::json;
use crate::cardinality::{Counts, DEFAULT_LIMIT, MAX_LIMIT, head, walk};

/// `/api/v1/status/tsdb`
pub async fn tsdb(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let limit = read_limit(&p)?;
    let head = head(&api.fanout)
        .ok_or_else(|| Failure(ApiError::NotImplemented("this role has no head to count".into())))?;
    let _slot = api.slot().await;
    let mut counts = Counts::default();
    walk(head, scope(&p), Vec::new(), |series| counts.add(series)).await?;
    json(&counts.report(head.info().min_ms, head.info().max_ms, limit))
}

fn read_limit(p: &Params) -> Result<usize, Failure> {
    let Some(text) = p.get("limit") else { return Ok(DEFAULT_LIMIT) };
    match text.parse::<usize>() {
        Ok(n) if n > MAX_LIMIT => Err(Failure::bad_data(format!("limit must not exceed {MAX_LIMIT}"))),
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Failure::bad_data("limit must be a positive number")),
    }
}
