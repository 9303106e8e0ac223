//! Rules on cairn's own engine: [`Evaluator`] over any [`Queryable`].

use std::sync::Arc;

use async_trait::async_trait;
use cairn_model::sample::Value;
use cairn_model::storage::{MAY_BE_PARTIAL, Queryable, SeriesRequest, StoreError};
use cairn_model::tenant::TenantScope;
use cairn_model::{Matcher, TimestampMs};
use cairn_promql::engine::SampleBuf;
use cairn_promql::engine::downsampled::Aggregate;
use cairn_promql::value::SampleValue;
use cairn_promql::{Engine, ErrorKind, QueryError, QueryOptions};

use crate::file::PartialResponse;
use crate::seams::{EvaluateError, Evaluated, Evaluator, InstantQuery, LastSample, QueryValue, VectorSample};

/// Evaluates rules with the embedded engine.
pub struct EngineEvaluator {
    engine: Engine,
    queryable: Arc<dyn Queryable>,
}

/// Warnings of an evaluation begin so; all others, but those of gaps, are about data that could not be read.
const EVALUATION_WARNING: &str = "PromQL ";

impl EngineEvaluator {
    /// Reads `queryable` with `engine`.
    pub fn new(engine: Engine, queryable: Arc<dyn Queryable>) -> EngineEvaluator {
        EngineEvaluator { engine, queryable }
    }
}

#[async_trait]
impl Evaluator for EngineEvaluator {
    async fn instant(&self, query: InstantQuery) -> Result<Evaluated, EvaluateError> {
        let options = QueryOptions { tenants: query.tenants, ..QueryOptions::default() };
        let answer = self.engine.instant(&*self.queryable, &query.expr, query.ts_ms, &options).await?;
        let missing = answer
            .warnings
            .iter()
            .find(|warning| !warning.starts_with(EVALUATION_WARNING) && !warning.starts_with(MAY_BE_PARTIAL));
        if let (Some(missing), PartialResponse::Abort) = (missing, query.partial_response) {
            let message = format!("not all data could be read: {missing}");
            return Err(EvaluateError { message, is_transient: true });
        }
        Ok(Evaluated { value: convert(answer.value), warnings: answer.warnings })
    }

    async fn last_samples(
        &self,
        tenants: &TenantScope,
        matchers: &[Matcher],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Vec<LastSample>, EvaluateError> {
        let request = SeriesRequest {
            tenants: tenants.clone(),
            ..SeriesRequest::new(min_ms, max_ms, matchers.to_vec())
        };
        let selected = self.queryable.select(request).await.map_err(QueryError::from)?;
        let decoder = &*self.engine.options().decoder;
        let mut buffer = SampleBuf::default();
        let mut last = Vec::new();
        for series in selected.series {
            let filled = buffer.fill(&series.chunks, (min_ms, max_ms), Aggregate::Average, decoder);
            filled.map_err(|reason| QueryError::Decode { series: series.labels.to_string(), reason })?;
            let floats = &buffer.floats;
            // Chunks may reach past the range.
            let newest = (0..floats.len()).rev().find(|i| (min_ms..=max_ms).contains(&floats.t_ms[*i]));
            if let Some(i) = newest {
                last.push(LastSample { labels: series.labels, t_ms: floats.t_ms[i], value: floats.value[i] });
            }
        }
        Ok(last)
    }
}

fn convert(value: cairn_promql::QueryValue) -> QueryValue {
    match value {
        cairn_promql::QueryValue::Scalar(point) => QueryValue::Scalar(point.value),
        cairn_promql::QueryValue::Vector(vector) => QueryValue::Vector(
            vector
                .into_iter()
                .map(|sample| VectorSample {
                    labels: sample.labels,
                    value: match sample.value {
                        SampleValue::Float(v) => Value::Float(v),
                        SampleValue::Histogram(h) => Value::FloatHistogram(h),
                    },
                })
                .collect(),
        ),
        cairn_promql::QueryValue::Matrix(_) => QueryValue::Unusable("range vector"),
        cairn_promql::QueryValue::String(..) => QueryValue::Unusable("string"),
    }
}

impl From<QueryError> for EvaluateError {
    fn from(error: QueryError) -> EvaluateError {
        let is_transient = match &error {
            QueryError::Storage(StoreError::Read { .. }) => true,
            error => {
                matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Canceled | ErrorKind::Unavailable)
            }
        };
        EvaluateError { message: error.to_string(), is_transient }
    }
}
