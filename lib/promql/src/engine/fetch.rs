//! Reading what a plan asks for: all fetches at once, bounded by the query's budgets.

use cairn_model::storage::{Queryable, Series, SeriesRequest};
use cairn_model::tenant::TenantScope;
use cairn_model::{AggrChunk, ChunkData};
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
            min_ms: f.min_ms,
            max_ms: f.max_ms,
            matchers: f.matchers.clone(),
            skip_chunks: false,
            limit: 0,
            max_resolution_ms: limits.max_resolution_ms,
            labels: f.labels.clone(),
            hints: f.hints.clone(),
        })
    }))
    .await?;
    let mut fetched = Fetched::default();
    let (mut series, mut bytes) = (Vec::new(), Vec::new());
    for answer in answers {
        series.push(answer.series.len() as u64);
        bytes.push(answer.series.iter().map(series_bytes).sum::<u64>());
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

/// What a series occupies: encoded bytes, or 16 for each sample in columns.
fn series_bytes(s: &Series) -> u64 {
    let data = |d: &ChunkData| match d {
        ChunkData::Encoded(_, bytes) => bytes.len(),
        ChunkData::Columns(c) => c.t_ms.len() * 16,
    };
    let chunk = |c: &AggrChunk| match c {
        AggrChunk::Raw(c) => data(&c.data),
        AggrChunk::Downsampled(a) => {
            [&a.count, &a.sum, &a.min, &a.max, &a.counter].into_iter().flatten().map(|c| data(&c.data)).sum()
        }
    };
    (s.labels.as_bytes().len() + s.chunks.iter().map(chunk).sum::<usize>()) as u64
}
