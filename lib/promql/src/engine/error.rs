//! Why a query has no answer, in the kinds that the API tells apart.

use std::borrow::Cow;

use cairn_model::storage::StoreError;

use crate::parser::duration::DurationError;

/// Prometheus' error types, each of which the API gives a status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is at fault: 400.
    BadData,
    /// The evaluation cannot give an answer: 422.
    Execution,
    /// It took longer than allowed: 503.
    Timeout,
    /// The caller gave up, or the process is stopping: 503.
    Canceled,
    /// Something that is not the query's fault: 500.
    Internal,
    /// The data cannot be reached now: 503.
    Unavailable,
}

/// Why a query failed. Texts are Prometheus' where it has one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueryError {
    /// The text is no valid PromQL, or asks for something that is switched off.
    #[error("{0}")]
    Parse(String),
    /// A duration expression gave an unusable duration.
    #[error("{0}")]
    Duration(#[from] DurationError),
    /// The expression's type does not fit the request, or the time range makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// Evaluation met something it has no answer for.
    #[error("{0}")]
    Execution(String),
    /// More samples at once than the budget allows.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// Another budget is used up; names the selector that did it.
    #[error(
        "query needs at least {needed} {what} for {culprit}, the limit is {limit}: narrow the selector or the time range"
    )]
    Budget {
        /// What there is too much of: `bytes`, `series`, `steps`.
        what: Cow<'static, str>,
        /// How much the query needs at least.
        needed: u64,
        /// How much it may have.
        limit: u64,
        /// Which selector.
        culprit: String,
    },
    /// Out of time.
    #[error("query timed out in {0}")]
    Timeout(&'static str),
    /// Nobody waits for the answer any more.
    #[error("query was canceled in {0}")]
    Canceled(&'static str),
    /// Reading failed.
    #[error("expanding series: {0}")]
    Storage(#[from] StoreError),
    /// A chunk cannot be decoded.
    #[error("cannot decode a chunk of {series}: {reason}")]
    Decode {
        /// The series it belongs to.
        series: String,
        /// What the decoder says.
        reason: String,
    },
    /// A defect of the engine; details are in the log.
    #[error("unexpected error: {0}")]
    Internal(String),
}

impl QueryError {
    /// The kind that the API reports.
    pub fn kind(&self) -> ErrorKind {
        match self {
            QueryError::Parse(_) | QueryError::Duration(_) | QueryError::BadRequest(_) => ErrorKind::BadData,
            QueryError::Execution(_) | QueryError::TooManySamples | QueryError::Budget { .. } => {
                ErrorKind::Execution
            }
            QueryError::Timeout(_) => ErrorKind::Timeout,
            QueryError::Canceled(_) | QueryError::Storage(StoreError::Canceled) => ErrorKind::Canceled,
            QueryError::Storage(StoreError::LimitExceeded { .. } | StoreError::Unsupported(_)) => {
                ErrorKind::Execution
            }
            QueryError::Storage(StoreError::Unavailable { .. } | StoreError::Busy { .. }) => {
                ErrorKind::Unavailable
            }
            QueryError::Storage(StoreError::Read { .. })
            | QueryError::Decode { .. }
            | QueryError::Internal(_) => ErrorKind::Internal,
        }
    }
}
