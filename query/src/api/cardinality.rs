//! `/status/tsdb`: how many series there are, and which names and values make them, per tenant.
//!
//! Counted over a stream of the head's series, so memory grows with distinct labels and not with series. The
//! figures mean what they mean in Prometheus; bytes are those of names and values with their two length bytes,
//! once a series.

use std::collections::{BTreeMap, HashMap, HashSet};

use axum::extract::{Request, State};
use cairn_model::labels::{LabelsRef, METRIC_NAME};
use cairn_model::matcher::{MatchOp, Matcher};
use cairn_model::storage::{SeriesRequest, StoreApi, StoreError};
use cairn_model::tenant::TenantScope;
use cairn_net::ApiError;
use futures::TryStreamExt;
use serde::Serialize;

use super::Api;
use super::answer::Answer;
use super::discover::scope;
use super::error::Failure;
use super::params::Params;
use super::status::json;

/// Entries of a list when the request names no limit, as in Prometheus.
const DEFAULT_LIMIT: usize = 10;
/// Most entries of a list, as in Prometheus.
const MAX_LIMIT: usize = 10_000;
/// Store whose series are counted.
const HEAD: &str = "head";

/// `/api/v1/status/tsdb`
pub async fn tsdb(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let limit = read_limit(&p)?;
    let head = api.fanout.stores().iter().find(|s| s.info().name == HEAD);
    let head =
        head.ok_or_else(|| Failure(ApiError::NotImplemented("this role has no head to count".into())))?;
    // A walk over all series is as dear as a query.
    let _slot = api.slot().await;
    let counted = count(&**head, scope(&p)).await?;
    json(&counted.report(head.info().min_ms, head.info().max_ms, limit))
}

fn read_limit(p: &Params) -> Result<usize, Failure> {
    let Some(text) = p.get("limit") else { return Ok(DEFAULT_LIMIT) };
    match text.parse::<usize>() {
        Ok(n) if n > MAX_LIMIT => Err(Failure::bad_data(format!("limit must not exceed {MAX_LIMIT}"))),
        Ok(n) if n > 0 => Ok(n),
        _ => Err(Failure::bad_data("limit must be a positive number")),
    }
}

async fn count(head: &dyn StoreApi, tenants: TenantScope) -> Result<Counts, StoreError> {
    let any_name = Matcher::new(MatchOp::NotEqual, METRIC_NAME, "").expect("no pattern to be wrong");
    let info = head.info();
    let mut request = SeriesRequest::new(info.min_ms, info.max_ms, vec![any_name]);
    request.tenants = tenants;
    let mut stream = head.series(request).await?;
    let mut counts = Counts::default();
    while let Some(batch) = stream.try_next().await? {
        batch.iter().for_each(|s| counts.add(s.labels.as_ref(), s.chunks.len()));
    }
    Ok(counts)
}

#[derive(Debug, Default)]
struct Counts {
    series: u64,
    chunks: u64,
    metrics: HashMap<String, u64>,
    bytes: BTreeMap<String, u64>,
    pairs: HashMap<(String, String), u64>,
}

impl Counts {
    fn add(&mut self, labels: LabelsRef<'_>, chunks: usize) {
        self.series += 1;
        self.chunks += chunks as u64;
        for (name, value) in labels.iter() {
            if name == METRIC_NAME {
                *self.metrics.entry(value.to_owned()).or_default() += 1;
            }
            *self.bytes.entry(name.to_owned()).or_default() += (name.len() + value.len() + 2) as u64;
            *self.pairs.entry((name.to_owned(), value.to_owned())).or_default() += 1;
        }
    }

    fn report(self, min_ms: i64, max_ms: i64, limit: usize) -> TsdbStatus {
        let mut values: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for (name, value) in self.pairs.keys() {
            values.entry(name).or_default().insert(value);
        }
        TsdbStatus {
            head_stats: HeadStats {
                num_series: self.series,
                num_label_pairs: self.pairs.len() as u64,
                chunk_count: self.chunks,
                min_time: min_ms,
                max_time: max_ms,
            },
            label_value_count_by_label_name: top(
                values.iter().map(|(n, v)| ((*n).to_owned(), v.len() as u64)),
                limit,
            ),
            series_count_by_metric_name: top(self.metrics.iter().map(|(n, c)| (n.clone(), *c)), limit),
            memory_in_bytes_by_label_name: top(self.bytes.iter().map(|(n, c)| (n.clone(), *c)), limit),
            series_count_by_label_value_pair: top(
                self.pairs.iter().map(|((n, v), c)| (format!("{n}={v}"), *c)),
                limit,
            ),
        }
    }
}

/// The `limit` largest, by name where they are equal.
fn top(counts: impl Iterator<Item = (String, u64)>, limit: usize) -> Vec<Stat> {
    let mut list: Vec<Stat> = counts.map(|(name, value)| Stat { name, value }).collect();
    list.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    list.truncate(limit);
    list
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TsdbStatus {
    head_stats: HeadStats,
    series_count_by_metric_name: Vec<Stat>,
    label_value_count_by_label_name: Vec<Stat>,
    memory_in_bytes_by_label_name: Vec<Stat>,
    series_count_by_label_value_pair: Vec<Stat>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadStats {
    num_series: u64,
    num_label_pairs: u64,
    chunk_count: u64,
    min_time: i64,
    max_time: i64,
}

#[derive(Debug, Serialize, PartialEq)]
struct Stat {
    name: String,
    value: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::labels::Labels;

    #[test]
    fn the_largest_counts_come_first() {
        let mut counts = Counts::default();
        for (name, instance) in [("up", "a"), ("up", "b"), ("down", "a")] {
            let labels = Labels::from_pairs([("__name__", name), ("instance", instance)]).unwrap();
            counts.add(labels.as_ref(), 2);
        }
        let report = counts.report(1, 9, 1);
        assert_eq!((report.head_stats.num_series, report.head_stats.num_label_pairs), (3, 4));
        assert_eq!(report.head_stats.chunk_count, 6);
        let stat = |name: &str, value| vec![Stat { name: name.into(), value }];
        assert_eq!(report.series_count_by_metric_name, stat("up", 2));
        assert_eq!(report.label_value_count_by_label_name, stat("__name__", 2));
        assert_eq!(report.memory_in_bytes_by_label_name, stat("__name__", 12 + 12 + 14));
        assert_eq!(report.series_count_by_label_value_pair, stat("__name__=up", 2));
    }
}
