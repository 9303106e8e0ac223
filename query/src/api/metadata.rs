//! What metrics mean and single measurements of them: `/metadata`, `/query_exemplars`.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cairn_model::metadata::Metadata;
use cairn_model::number::append_api;
use cairn_promql::parser::parse;

use super::Api;
use super::answer::Answer;
use super::discover::scope;
use super::encode::write_list;
use super::error::Failure;
use super::params::Params;
use crate::json::{write_labels, write_string, write_timestamp};

/// `/api/v1/metadata`
pub async fn metadata(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let (limit, per_metric) = (p.count("limit")?, p.count("limit_per_metric")?.filter(|n| *n > 0));
    let (found, warnings) = api.view(&p)?.fanout.metadata(&scope(&p), p.get("metric")).await?;
    let mut by_metric: BTreeMap<String, Vec<Metadata>> = BTreeMap::new();
    for (metric, metadata) in found {
        let list = by_metric.entry(metric).or_default();
        if !list.contains(&metadata) {
            list.push(metadata);
        }
    }
    let entries: Vec<_> = by_metric.into_iter().take(limit.unwrap_or(usize::MAX)).collect();
    let mut data = vec![b'{'];
    for (i, (metric, list)) in entries.iter().enumerate() {
        if i > 0 {
            data.push(b',');
        }
        write_string(&mut data, metric);
        data.push(b':');
        write_list(&mut data, &list[..list.len().min(per_metric.unwrap_or(usize::MAX))], |out, m| {
            out.extend_from_slice(b"{\"type\":");
            write_string(out, m.metric_type.as_str());
            out.extend_from_slice(b",\"help\":");
            write_string(out, &m.help);
            out.extend_from_slice(b",\"unit\":");
            write_string(out, &m.unit);
            out.push(b'}');
        });
    }
    data.push(b'}');
    Ok(Answer { data, warnings, infos: vec![] })
}

/// `/api/v1/query_exemplars`
pub async fn query_exemplars(State(api): State<Api>, request: Request) -> Result<Response, Failure> {
    let p = Params::read(request).await?;
    let (start, end) = p.range()?;
    if end < start {
        return Err(Failure::bad_data("end timestamp must not be before start timestamp"));
    }
    let expr = parse(p.get("query").unwrap_or(""), api.engine.options().features)
        .map_err(|e| Failure::bad_data(e.to_string()))?;
    let matchers: Vec<_> = expr.selectors().into_iter().map(|s| s.matchers.clone()).collect();
    if matchers.is_empty() {
        // An expression without series has no exemplars, not even none.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let (found, warnings) = api.view(&p)?.fanout.exemplars(&scope(&p), &matchers, start, end).await?;
    let mut data = Vec::new();
    write_list(&mut data, &found, |out, (labels, exemplars)| {
        out.extend_from_slice(b"{\"seriesLabels\":");
        write_labels(out, labels.as_ref());
        out.extend_from_slice(b",\"exemplars\":");
        write_list(out, exemplars, |out, e| {
            out.extend_from_slice(b"{\"labels\":");
            write_labels(out, e.labels.as_ref());
            out.extend_from_slice(b",\"value\":\"");
            append_api(out, e.value);
            out.extend_from_slice(b"\",\"timestamp\":");
            write_timestamp(out, e.t_ms);
            out.push(b'}');
        });
        out.push(b'}');
    });
    Ok(Answer { data, warnings, infos: vec![] }.into_response())
}
