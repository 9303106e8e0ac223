//! `/format_query` and `/parse_query`: expressions without data.

use axum::extract::{Request, State};
use cairn_net::ApiError;
use cairn_promql::parser::{Expr, parse, prettify, to_json};

use super::answer::Answer;
use super::error::Failure;
use super::params::{Params, invalid};
use super::{Api, QueryApi};
use crate::json::write_string;

/// `/api/v1/format_query`
pub async fn format_query(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let expr = expression(&api, &Params::read(request).await?)?;
    let mut data = Vec::new();
    write_string(&mut data, &prettify(&expr));
    Ok(Answer::of(data))
}

/// `/api/v1/parse_query`
pub async fn parse_query(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let expr = expression(&api, &Params::read(request).await?)?;
    let json = to_json(&expr).map_err(|e| Failure(ApiError::Internal(e.to_string())))?;
    Ok(Answer::of(json.into_bytes()))
}

fn expression(api: &QueryApi, p: &Params) -> Result<Expr, Failure> {
    parse(p.get("query").unwrap_or(""), api.engine.options().features)
        .map_err(|e| invalid("query", e.to_string()))
}
