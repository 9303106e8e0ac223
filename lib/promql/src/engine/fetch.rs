//! Reading what a plan asks for: all fetches at once, bounded by the query's budgets.

use cairn_model::ReadBounds;
use cairn_model::storage::{Queryable, SelectedSeries, Series, SeriesRequest, StoreError};
use cairn_model::tenant::TenantScope;
use futures::future::try_join_all;

use super::error::QueryError;
use super::plan::{Fetch, Plan};

/// What the fetches of a query may read.
#[derive(Debug, Clone)]
pub struct FetchLimits {
    /// Tenants the caller may see.
    pub tenants: TenantScope,
    /// Coarsest resolution that the answer may have, 0 = raw.
    pub max_resolution_ms: i64,
    /// What all selectors together may read.
    pub bounds: ReadBounds,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Series of each fetch of the plan.
    pub data: Vec<Vec<Series>>,
    /// What stores said is missing or doubtful; each text once.
    pub warnings: Vec<String>,
    /// Bytes of labels and chunks.
    pub bytes: u64,
}

/// Reads the data of all fetches of `plan`.
///
/// # Errors
/// A store's, or a used-up budget, which names the selector that needs most.
pub async fn fetch(
    plan: &Plan,
    queryable: &dyn Queryable,
    limits: &FetchLimits,
) -> Result<Fetched, QueryError> {
    let select = |f: &Fetch| {
        let request = SeriesRequest {
            tenants: limits.tenants.clone(),
            max_resolution_ms: limits.max_resolution_ms,
            labels: f.labels.clone(),
            hints: f.hints.clone(),
            // A selector that needs too much alone is stopped by its store; what several need together is judged below.
            bounds: limits.bounds.clone(),
            ..SeriesRequest::new(f.min_ms, f.max_ms, f.matchers.clone())
        };
        let (answer, text) = (queryable.select(request), f.text.clone());
        async move { answer.await.map_err(|e| refused(e, text)) }
    };
    let answers: Vec<SelectedSeries> = try_join_all(plan.fetches.iter().map(select)).await?;
    let mut fetched = Fetched::default();
    let (mut series, mut bytes) = (Vec::new(), Vec::new());
    for answer in answers {
        series.push(answer.series.len() as u64);
        bytes.push(answer.series.iter().map(|s| s.bytes() as u64).sum::<u64>());
        for w in answer.warnings {
            if !fetched.warnings.contains(&w) {
                fetched.warnings.push(w);
            }
        }
        fetched.data.push(answer.series);
    }
    within(plan, "series", &series, limits.bounds.max_series)?;
    within(plan, "bytes", &bytes, limits.bounds.max_bytes)?;
    fetched.bytes = bytes.iter().sum();
    Ok(fetched)
}

/// A store's refusal; a bound of the query names its selector.
fn refused(error: StoreError, culprit: String) -> QueryError {
    match error {
        StoreError::LimitExceeded { what, needed, limit } => {
            QueryError::Budget { what: what.into(), needed, limit, culprit }
        }
        e => e.into(),
    }
}

fn within(plan: &Plan, what: &'static str, needed: &[u64], limit: u64) -> Result<(), QueryError> {
    let total: u64 = needed.iter().sum();
    if limit == 0 || total <= limit {
        return Ok(());
    }
    let most = needed.iter().enumerate().max_by_key(|(_, n)| **n).map_or(0, |(i, _)| i);
    let culprit = plan.fetches.get(most).map_or_else(String::new, |f| f.text.clone());
    Err(QueryError::Budget { what: what.into(), needed: total, limit, culprit })
}
