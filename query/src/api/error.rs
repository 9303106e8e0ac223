//! Failures of the query API: `lib/net`'s errors in Prometheus' JSON envelope.

use axum::response::{IntoResponse, Response};
use cairn_model::storage::StoreError;
use cairn_net::ApiError;
use cairn_promql::engine::{ErrorKind, QueryError};

/// A request that could not be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(pub ApiError);

impl Failure {
    /// The request is wrong.
    pub fn bad_data(message: impl Into<String>) -> Self {
        Failure(ApiError::BadRequest(message.into()))
    }
}

/// A store's failure to read `culprit`, which is named where there was too much of it.
pub fn reading(culprit: &str) -> impl Fn(StoreError) -> Failure {
    move |e| match e {
        StoreError::LimitExceeded { what, needed, limit } => Failure(ApiError::Unprocessable(format!(
            "request needs at least {needed} {what} for {culprit}, the limit is {limit}: narrow the selector or the time range, or ask for fewer by `limit`"
        ))),
        e => e.into(),
    }
}

impl From<ApiError> for Failure {
    fn from(e: ApiError) -> Self {
        Failure(e)
    }
}

impl From<StoreError> for Failure {
    fn from(e: StoreError) -> Self {
        let text = e.to_string();
        Failure(match e {
            StoreError::Read { .. } => ApiError::Internal(text),
            StoreError::Unavailable { .. } | StoreError::Busy { .. } => ApiError::unavailable(text),
            StoreError::LimitExceeded { .. } | StoreError::Unsupported(_) => ApiError::Unprocessable(text),
            StoreError::Canceled => ApiError::Canceled(text),
        })
    }
}

impl From<QueryError> for Failure {
    fn from(e: QueryError) -> Self {
        let text = e.to_string();
        Failure(match e.kind() {
            // What parser and planner say is about the parameter that holds the expression.
            ErrorKind::BadData => ApiError::BadRequest(format!("invalid parameter \"query\": {text}")),
            ErrorKind::Execution => ApiError::Unprocessable(text),
            ErrorKind::Timeout => ApiError::QueryTimeout(text),
            ErrorKind::Canceled => ApiError::Canceled(text),
            ErrorKind::Internal => ApiError::Internal(text),
            ErrorKind::Unavailable => ApiError::unavailable(text),
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_json_response()
    }
}
