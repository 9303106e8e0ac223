//! What the ruler needs of others: an engine to ask. The binary joins it to PromQL over all stores, tests to a script.
//!
//! Writing goes through [`Appendable`](cairn_model::storage::Appendable), assignments through
//! [`Coordinator`](cairn_cluster::Coordinator), alerts to [`Notifier`](cairn_notify::Notifier): those traits are others'.

use async_trait::async_trait;
use cairn_model::sample::Value;
use cairn_model::tenant::TenantScope;
use cairn_model::{Labels, Matcher, TimestampMs};

use crate::file::PartialResponse;

/// An instant query.
#[derive(Debug, Clone)]
pub struct InstantQuery {
    /// PromQL; it parsed when the rule was loaded.
    pub expr: String,
    /// The query's time.
    pub ts_ms: TimestampMs,
    /// Whose data may be read.
    pub tenants: TenantScope,
    /// Whether missing data is an error or a warning.
    pub partial_response: PartialResponse,
}

/// A result.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryValue {
    /// Series without order; stale ones are not among them.
    Vector(Vec<VectorSample>),
    /// A number.
    Scalar(f64),
    /// A range vector or a string: no rule can use it. The type's name.
    Unusable(&'static str),
}

/// An element of a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// Labels, with the metric name if it has one.
    pub labels: Labels,
    /// Float or histogram.
    pub value: Value,
}

/// A result with what is doubtful about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluated {
    /// The result.
    pub value: QueryValue,
    /// Warnings, in the engine's words.
    pub warnings: Vec<String>,
}

/// Why a query has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvaluateError {
    /// In the engine's words.
    pub message: String,
    /// Whether the same query may succeed later: a store was away, a deadline passed. A query that cannot be computed
    /// (many-to-many matching) is not worth it.
    pub is_transient: bool,
}

/// The newest raw sample of a series, stale markers included.
#[derive(Debug, Clone, PartialEq)]
pub struct LastSample {
    /// Labels.
    pub labels: Labels,
    /// When.
    pub t_ms: TimestampMs,
    /// What; may be the stale marker.
    pub value: f64,
}

/// Answers queries.
#[async_trait]
pub trait Evaluator: Send + Sync {
    /// Evaluates an expression at one time.
    async fn instant(&self, query: InstantQuery) -> Result<Evaluated, EvaluateError>;

    /// The newest sample in `min_ms ..= max_ms` of each float series that matches. Stale markers count as samples, so
    /// that a series that ended can be told from one that was cut off.
    async fn last_samples(
        &self,
        tenants: &TenantScope,
        matchers: &[Matcher],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Vec<LastSample>, EvaluateError>;
}
