//! `/query` and `/query_range`.

use std::time::Duration;

use axum::extract::{Request, State};
use cairn_promql::engine::{QueryOptions, QueryResult};

use super::answer::{Answer, TRUNCATED};
use super::discover::scope;
use super::encode::write_result;
use super::error::Failure;
use super::params::{Params, invalid};
use super::{Api, QueryApi};
use cairn_promql::value::QueryValue;

/// Most points a series that a range query may ask for, as in Prometheus.
const MAX_POINTS: i64 = 11_000;

/// `/api/v1/query`
pub async fn instant(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let (limit, t_ms) = (p.limit()?, p.time("time", api.runtime.clock.now_ms())?);
    let options = api.query_options(&p)?;
    let query = p.get("query").unwrap_or("").to_owned();
    let slot = api.slots.acquire().await.expect("the semaphore is never closed");
    let result = api.engine.instant(&api.fanout, &query, t_ms, &options).await?;
    drop(slot);
    Ok(answer(result, limit))
}

/// `/api/v1/query_range`
pub async fn range(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let limit = p.limit()?;
    let (start, end) = (p.required_time("start")?, p.required_time("end")?);
    if end < start {
        return Err(invalid("end", "end timestamp must not be before start time".into()));
    }
    let step =
        p.duration("step")?.ok_or_else(|| invalid("step", "cannot parse \"\" to a valid duration".into()))?;
    if step <= 0 {
        let why = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(invalid("step", why.into()));
    }
    if (end - start) / step > MAX_POINTS {
        return Err(Failure::bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    let options = api.query_options(&p)?;
    let query = p.get("query").unwrap_or("").to_owned();
    let slot = api.slots.acquire().await.expect("the semaphore is never closed");
    let result = api.engine.range(&api.fanout, &query, start, end, step, &options).await?;
    drop(slot);
    Ok(answer(result, limit))
}

impl QueryApi {
    fn query_options(&self, p: &Params) -> Result<QueryOptions, Failure> {
        let asked = p.duration("timeout")?.unwrap_or(self.options.timeout_ms);
        let timeout = Duration::from_millis(asked.clamp(0, self.options.timeout_ms) as u64);
        Ok(QueryOptions {
            tenants: scope(p),
            lookback_ms: p.duration("lookback_delta")?,
            timeout: Some(timeout),
            ..QueryOptions::default()
        })
    }
}

fn answer(mut result: QueryResult, limit: usize) -> Answer {
    let mut warnings = result.warnings;
    if limit > 0 && truncate(&mut result.value, limit) {
        warnings.push(TRUNCATED.to_owned());
    }
    let mut data = Vec::new();
    write_result(&mut data, &result.value);
    data.push(b'}');
    Answer { data, warnings, infos: result.infos }
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
