//! `/format_query` and `/parse_query`: expressions without data.

use axum::extract::Request;
use cairn_net::ApiError;
use cairn_promql::parser::{Expr, Features, parse, prettify, to_json};

use super::answer::Answer;
use super::error::Failure;
use super::params::{Params, invalid};
use crate::json::write_string;

/// `/api/v1/format_query`
pub async fn format_query(request: Request) -> Result<Answer, Failure> {
    let expr = expression(&Params::read(request).await?)?;
    let mut data = Vec::new();
    write_string(&mut data, &prettify(&expr));
    Ok(Answer::of(data))
}

/// `/api/v1/parse_query`
pub async fn parse_query(request: Request) -> Result<Answer, Failure> {
    let expr = expression(&Params::read(request).await?)?;
    let json = to_json(&expr).map_err(|e| Failure(ApiError::Internal(e.to_string())))?;
    Ok(Answer::of(json.into_bytes()))
}

fn expression(p: &Params) -> Result<Expr, Failure> {
    parse(p.get("query").unwrap_or(""), Features::default()).map_err(|e| invalid("query", e.to_string()))
}
