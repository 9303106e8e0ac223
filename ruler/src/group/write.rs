//! Results on their way to the write path.

use std::collections::{BTreeMap, BTreeSet};

use cairn_cluster::Token;
use cairn_model::sample::{Value, stale_nan};
use cairn_model::{Labels, TimestampMs, WriteBatch};

use super::Group;
use crate::error::EvaluationError;

impl Group {
    /// Writes series at one time, and stale markers for those of `previous` that are not among them. Gives the number of
    /// samples stored. Asks first whether the group is still this node's.
    pub(super) async fn write(
        &self,
        token: Token,
        series: &BTreeMap<Labels, Value>,
        previous: &BTreeSet<Labels>,
        t_ms: TimestampMs,
    ) -> Result<u64, EvaluationError> {
        let mut batch = WriteBatch::new(self.context.options.tenant.clone());
        for (labels, value) in series {
            match value {
                Value::Float(v) => batch.push_floats(labels.as_ref(), &[(t_ms, *v)]),
                histogram => batch.push_histogram(labels.as_ref(), t_ms, histogram.clone()),
            }
        }
        for gone in previous.iter().filter(|labels| !series.contains_key(*labels)) {
            batch.push_floats(gone.as_ref(), &[(t_ms, stale_nan())]);
        }
        let total = batch.sample_count();
        if total == 0 {
            return Ok(0);
        }
        self.context.parts.coordinator.check(&self.key.assignment(), token)?;
        let appended = self.context.parts.writer.append(batch).await?;
        let rejected: u64 = appended.rejections.iter().map(|r| u64::from(r.samples)).sum();
        match appended.rejections.first() {
            None => Ok(total as u64),
            Some(first) => {
                let label = self.key.metric_label();
                self.context.metrics.samples_rejected.with_label_values(&[&label]).inc_by(rejected);
                let first = format!("{}: {}", first.labels, first.reason);
                Err(EvaluationError::Rejected { rejected, total, first })
            }
        }
    }
}
