//! How many series there are, and which names and values make them.
//!
//! Counted over a stream of the head's series, so memory grows with distinct labels and not with series. The
//! figures mean what they mean in Prometheus; bytes are those of names and values with their two length bytes,
//! once a series.

use std::collections::{BTreeMap, HashMap, HashSet};

use cairn_model::labels::{LabelsRef, METRIC_NAME};
use cairn_model::matcher::{MatchOp, Matcher};
use cairn_model::storage::{Series, SeriesRequest, StoreApi, StoreError};
use cairn_model::tenant::TenantScope;
use futures::TryStreamExt;
use serde::Serialize;

use crate::fanout::Fanout;

/// Entries of a list when a request names no limit, as in Prometheus.
pub const DEFAULT_LIMIT: usize = 10;
/// Most entries of a list, as in Prometheus.
pub const MAX_LIMIT: usize = 10_000;
/// Store whose series are counted.
const HEAD: &str = "head";

/// The store whose series are counted, if there is one.
pub fn head(fanout: &Fanout) -> Option<&dyn StoreApi> {
    fanout.stores().iter().find(|s| s.info().name == HEAD).map(|s| &**s)
}

/// Shows each series that matches all of `matchers` to `see`. As dear as a query over all of them.
///
/// # Errors
/// The store's.
pub async fn walk(
    head: &dyn StoreApi,
    tenants: TenantScope,
    mut matchers: Vec<Matcher>,
    mut see: impl FnMut(&Series),
) -> Result<(), StoreError> {
    let info = head.info();
    matchers.push(Matcher::new(MatchOp::NotEqual, METRIC_NAME, "").expect("no pattern to be wrong"));
    let mut request = SeriesRequest::new(info.min_ms, info.max_ms, matchers);
    request.tenants = tenants;
    let mut stream = head.series(request).await?;
    while let Some(batch) = stream.try_next().await? {
        batch.iter().for_each(&mut see);
    }
    Ok(())
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Counts {
    series: u64,
    chunks: u64,
    metrics: HashMap<String, u64>,
    bytes: BTreeMap<String, u64>,
    pairs: HashMap<(String, String), u64>,
}

impl Counts {
    /// Counts a series.
    pub fn add(&mut self, series: &Series) {
        self.add_labels(series.labels.as_ref(), series.chunks.len());
    }

    fn add_labels(&mut self, labels: LabelsRef<'_>, chunks: usize) {
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

    /// The report, with times of the head and lists of at most `limit` entries.
    pub fn report(self, min_ms: i64, max_ms: i64, limit: usize) -> TsdbStatus {
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

/// `data` of `/api/v1/status/tsdb`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the field names are the API's
pub struct TsdbStatus {
    pub head_stats: HeadStats,
    pub series_count_by_metric_name: Vec<Stat>,
    pub label_value_count_by_label_name: Vec<Stat>,
    pub memory_in_bytes_by_label_name: Vec<Stat>,
    pub series_count_by_label_value_pair: Vec<Stat>,
}

/// The head as a whole.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the field names are the API's
pub struct HeadStats {
    pub num_series: u64,
    pub num_label_pairs: u64,
    pub chunk_count: u64,
    pub min_time: i64,
    pub max_time: i64,
}

/// A name with its figure.
#[derive(Debug, Serialize, PartialEq)]
#[allow(missing_docs)] // the field names are the API's
pub struct Stat {
    pub name: String,
    pub value: u64,
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
            counts.add_labels(labels.as_ref(), 2);
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
