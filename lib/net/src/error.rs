//! What a request can come to, as a status: the only place that decides.
//!
//! The write path answers plain text, because senders log the first KiB of it; the query API answers Prometheus'
//! JSON with the same status.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

/// An answer that is no success. The text tells the client what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 400: repeating the request as it is cannot help.
    #[error("{0}")]
    BadRequest(String),
    /// 401: who are you?
    #[error("{0}")]
    Unauthorized(String),
    /// 403: you may not.
    #[error("{0}")]
    Forbidden(String),
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 405.
    #[error("method not allowed: use {allow}")]
    MethodNotAllowed {
        /// Methods that work here, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// 408: the client did not send its request in time.
    #[error("{0}")]
    RequestTimeout(String),
    /// 413.
    #[error("{0}")]
    TooLarge(String),
    /// 415: a content type or encoding that is not read here.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 422: the request is well formed and cannot be carried out.
    #[error("{0}")]
    Unprocessable(String),
    /// 429: a limit of the tenant's.
    #[error("{reason}")]
    RateLimited {
        /// Which limit.
        reason: String,
        /// When to try again, in seconds, at least 1.
        retry_after_s: u32,
    },
    /// 500: a bug of ours. Never on the write path.
    #[error("{0}")]
    Internal(String),
    /// 501: not built yet.
    #[error("{0}")]
    NotImplemented(String),
    /// 503: repeat freely.
    #[error("{reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
        /// When to try again, in seconds, at least 1.
        retry_after_s: u32,
    },
    /// 503 of the query API: the evaluation took too long.
    #[error("{0}")]
    QueryTimeout(String),
    /// Nobody waits for the answer any more: 499, as in Prometheus.
    #[error("{0}")]
    Canceled(String),
}

impl ApiError {
    /// 503 with the usual pause.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        ApiError::Unavailable { reason: reason.into(), retry_after_s: DEFAULT_RETRY_AFTER_S }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::BadRequest(_) => StatusCode::BAD_REQUEST,
            ApiError::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            ApiError::Forbidden(_) => StatusCode::FORBIDDEN,
            ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::RequestTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ApiError::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            ApiError::Unavailable { .. } | ApiError::QueryTimeout(_) => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Canceled(_) => CLIENT_CLOSED_REQUEST,
        }
    }

    /// `errorType` of Prometheus' JSON.
    pub fn error_type(&self) -> &'static str {
        match self {
            ApiError::NotFound(_) => "not_found",
            ApiError::Unprocessable(_) => "execution",
            ApiError::Internal(_) | ApiError::NotImplemented(_) => "internal",
            ApiError::Unavailable { .. } | ApiError::RateLimited { .. } => "unavailable",
            ApiError::QueryTimeout(_) | ApiError::RequestTimeout(_) => "timeout",
            ApiError::Canceled(_) => "canceled",
            _ => "bad_data",
        }
    }

    /// Seconds for `Retry-After`, where there is one.
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            ApiError::RateLimited { retry_after_s, .. } | ApiError::Unavailable { retry_after_s, .. } => {
                Some((*retry_after_s).max(1))
            }
            _ => None,
        }
    }

    /// The answer as Prometheus' query API gives it.
    pub fn into_json_response(self) -> Response {
        let body = serde_json::json!({
            "status": "error", "errorType": self.error_type(), "error": self.to_string(),
        });
        self.respond("application/json", body.to_string())
    }

    fn respond(&self, content_type: &'static str, body: String) -> Response {
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let ApiError::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// Pause that a client is asked for when nothing better is known. Judgement: longer than a stock sender's first
/// nginx's status for a client that went away.
const CLIENT_CLOSED_REQUEST: StatusCode = match StatusCode::from_u16(499) {
    Ok(status) => status,
    Err(_) => unreachable!(),
};

/// retries (30 ms doubling), shorter than its scrape interval.
pub const DEFAULT_RETRY_AFTER_S: u32 = 2;

/// Plain text, ending in a line feed.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut text = self.to_string();
        text.push('\n');
        self.respond("text/plain; charset=utf-8", text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_stands_where_repeating_helps() {
        let limited = ApiError::RateLimited { reason: "r".into(), retry_after_s: 7 };
        for (error, status, retry) in [
            (ApiError::BadRequest("x".into()), 400, None),
            (ApiError::TooLarge("x".into()), 413, None),
            (ApiError::UnsupportedMediaType("x".into()), 415, None),
            (limited, 429, Some("7")),
            (ApiError::unavailable("x"), 503, Some("2")),
            (ApiError::Unavailable { reason: "x".into(), retry_after_s: 0 }, 503, Some("1")),
        ] {
            let response = error.into_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().get(RETRY_AFTER).map(|v| v.to_str().unwrap()), retry);
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        let response = ApiError::MethodNotAllowed { allow: "POST" }.into_response();
        assert_eq!(
            (response.status(), &response.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &HeaderValue::from_static("POST"))
        );
    }
}
