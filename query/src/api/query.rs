//! `/query` and `/query_range`.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use cairn_net::ApiError;
use cairn_promql::engine::{QueryOptions, QueryResult};

use super::answer::{Answer, TRUNCATED};
use super::arrow;
use super::discover::scope;
use super::encode::{write_result, write_stats};
use super::error::Failure;
use super::params::{Params, invalid};
use super::thanos::lookback_for;
use super::{Api, QueryApi};
use cairn_promql::value::QueryValue;
use tokio::sync::SemaphorePermit;

/// Most points a series that a range query may ask for, as in Prometheus.
const MAX_POINTS: i128 = 11_000;
const NS_PER_MS: i64 = 1_000_000;
/// Samples that a step should have at least where the resolution is chosen by the step, as in Thanos.
const SAMPLES_A_STEP: i64 = 5;

/// `/api/v1/query`
pub async fn instant(State(api): State<Api>, request: Request) -> Result<Response, Failure> {
    let as_arrow = arrow::is_wanted(request.headers());
    let p = Params::read(request).await?;
    let (limit, t_ms) = (p.limit()?, p.time("time", api.runtime.clock.now_ms())?);
    // An instant query has no step to choose a resolution by; raw data answers unless it names one.
    let options = api.query_options(&p, 0)?;
    let view = api.view(&p)?;
    let query = p.get("query").unwrap_or("").to_owned();
    let (slot, queued) = api.slot().await;
    let result = api.engine.instant(&view, &query, t_ms, &options).await?;
    drop(slot);
    api.answer(result, limit, &p, queued, as_arrow)
}

/// `/api/v1/query_range`
pub async fn range(State(api): State<Api>, request: Request) -> Result<Response, Failure> {
    let as_arrow = arrow::is_wanted(request.headers());
    let p = Params::read(request).await?;
    let limit = p.limit()?;
    let (start, end) = (p.required_time("start")?, p.required_time("end")?);
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start time".into()));
    }
    let step = read_step(&p, start, end)?;
    let options = api.query_options(&p, step / SAMPLES_A_STEP)?;
    let view = api.view(&p)?;
    let query = p.get("query").unwrap_or("").to_owned();
    let (slot, queued) = api.slot().await;
    let result = api.engine.range(&view, &query, start, end, step, &options).await?;
    drop(slot);
    api.answer(result, limit, &p, queued, as_arrow)
}

/// The step in milliseconds, of a range that has not too many of them.
fn read_step(p: &Params, start: i64, end: i64) -> Result<i64, Failure> {
    let missing = || "cannot parse \"\" to a valid duration".to_owned();
    let step_ns = p.duration_ns("step").and_then(|step| step.ok_or_else(missing));
    let step_ns = i128::from(step_ns.map_err(|why| invalid("step", why))?);
    if step_ns <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(invalid("step", why.into()));
    }
    let range_ns = (i128::from(end) - i128::from(start)) * i128::from(NS_PER_MS);
    if range_ns / step_ns > MAX_POINTS {
        return Err(Failure::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    // Below a millisecond there are no steps; a range so short holds one.
    Ok((step_ns as i64 / NS_PER_MS).max(1))
}

/// `stats=all`: by step too, where that is enabled.
const STATS_ALL: &str = "all";

/// What Prometheus says of a value of `stats` that is neither of the two; statistics come all the same.
fn stats_warning(stats: &str) -> Option<String> {
    (!["true", STATS_ALL].contains(&stats)).then(|| {
        let value = cairn_model::labels::quoted(stats);
        format!(
            "value {value} for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\""
        )
    })
}

impl QueryApi {
    /// Waits for leave to evaluate; tells how long that took.
    pub(super) async fn slot(&self) -> (SemaphorePermit<'_>, Duration) {
        let asked = self.runtime.clock.monotonic();
        let slot = self.slots.acquire().await.expect("the semaphore is never closed");
        (slot, self.runtime.clock.monotonic().saturating_sub(asked))
    }

    /// The answer, as JSON with statistics where they are asked for, `queued` being the time spent waiting; Arrow has no
    /// place for them.
    fn answer(
        &self,
        mut result: QueryResult,
        limit: usize,
        p: &Params,
        queued: Duration,
        as_arrow: bool,
    ) -> Result<Response, Failure> {
        let mut warnings = result.warnings;
        if limit > 0 && truncate(&mut result.value, limit) {
            warnings.push(TRUNCATED.to_owned());
        }
        let stats = p.get("stats");
        warnings.extend(stats.and_then(stats_warning));
        if as_arrow {
            let stream = arrow::stream(&result.value, &warnings, &result.infos);
            let stream =
                stream.map_err(|e| Failure(ApiError::Internal(format!("cannot write Arrow: {e}"))))?;
            return Ok(([(CONTENT_TYPE, arrow::MEDIA_TYPE)], stream).into_response());
        }
        let mut data = Vec::new();
        write_result(&mut data, &result.value, &self.runtime.cpu);
        if stats.is_some() {
            data.extend_from_slice(b",\"stats\":");
            write_stats(&mut data, &result.stats, queued);
        }
        data.push(b'}');
        Ok(Answer { data, warnings, infos: result.infos }.into_response())
    }

    /// Options of a query whose data is at most `auto_resolution_ms` coarse where the choice is left to us.
    fn query_options(&self, p: &Params, auto_resolution_ms: i64) -> Result<QueryOptions, Failure> {
        let longest_ns = self.options.timeout_ms.saturating_mul(NS_PER_MS);
        let asked_ns = p.duration_ns("timeout").map_err(|why| invalid("timeout", why))?;
        let timeout = Duration::from_nanos(asked_ns.unwrap_or(longest_ns).clamp(0, longest_ns) as u64);
        let lookback_ns = p
            .duration_ns("lookback_delta")
            .map_err(|why| Failure::bad_data(format!("error parsing lookback delta duration: {why}")))?;
        let max_resolution_ms = self.max_resolution_ms(p, auto_resolution_ms)?;
        let lookback_ms = match lookback_ns {
            // None means the default; one finds only what is at the very time, Prometheus then not even that.
            Some(1..NS_PER_MS) => 1,
            Some(ns) => ns / NS_PER_MS,
            None => lookback_for(self.engine.options().lookback_ms, max_resolution_ms),
        };
        Ok(QueryOptions {
            tenants: scope(p),
            lookback_ms: Some(lookback_ms),
            timeout: Some(timeout),
            max_resolution_ms,
            samples_per_step: p.get("stats") == Some(STATS_ALL),
            shares_memory: true,
            ..QueryOptions::default()
        })
    }
}

fn truncate(value: &mut QueryValue, limit: usize) -> bool {
    let before = match value {
        QueryValue::Vector(v) => {
            let n = v.len();
            v.truncate(limit);
            n
        }
        QueryValue::Matrix(m) => {
            let n = m.len();
            m.truncate(limit);
            n
        }
        QueryValue::Scalar(_) | QueryValue::String(..) => 0,
    };
    before > limit
}
