//! Reading what a plan asks for: all fetches at once, bounded by the query's budgets.

use cairn_model::storage::{Queryable, Series, SeriesRequest};
use cairn_model::tenant::TenantScope;
use futures::future::try_join_all;

use super::error::QueryError;
use super::plan::Plan;

/// What the fetches of a query may read.
#[derive(Debug, Clone)]
pub struct FetchLimits {
    /// Tenants the caller may see.
    pub tenants: TenantScope,
    /// Coarsest resolution that the answer may have, 0 = raw.
    pub max_resolution_ms: i64,
    /// Series of all selectors together, 0 = no limit.
    pub max_series: u64,
    /// Bytes of labels and chunks of all selectors together, 0 = no limit.
    pub max_bytes: u64,
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
    let answers = try_join_all(plan.fetches.iter().map(|f| {
        queryable.select(SeriesRequest {
            tenants: limits.tenants.clone(),
            max_resolution_ms: limits.max_resolution_ms,
            labels: f.labels.clone(),
            hints: f.hints.clone(),
            ..SeriesRequest::new(f.min_ms, f.max_ms, f.matchers.clone())
        })
    }))
    .await?;
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
    within(plan, "series", &series, limits.max_series)?;
    within(plan, "bytes", &bytes, limits.max_bytes)?;
    fetched.bytes = bytes.iter().sum();
    Ok(fetched)
}

fn within(plan: &Plan, what: &'static str, needed: &[u64], limit: u64) -> Result<(), QueryError> {
    let total: u64 = needed.iter().sum();
    if limit == 0 || total <= limit {
        return Ok(());
    }
    let most = needed.iter().enumerate().max_by_key(|(_, n)| **n).map_or(0, |(i, _)| i);
    let culprit = plan.fetches.get(most).map_or_else(String::new, |f| f.text.clone());
    Err(QueryError::Budget { what, needed: total, limit, culprit })
}
