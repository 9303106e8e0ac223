//! Posting a body and learning what became of it.

use std::time::Duration;

use async_trait::async_trait;

use crate::url::AlertmanagerUrl;

/// Why a batch was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Another try may succeed: no connection, a timeout, a 5xx or 429.
    #[error("{0}")]
    Retry(String),
    /// This body will never be accepted: 4xx.
    #[error("refused with status {status}: {body}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Beginning of the answer.
        body: String,
    },
}

/// A way to an Alertmanager. The simulation has one of its own.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Posts a JSON body. `Ok` means that the Alertmanager has taken responsibility for all of it.
    async fn post(&self, to: &AlertmanagerUrl, body: Vec<u8>) -> Result<(), TransportError>;
}

/// HTTP/1.1 or 2 over the machine's network.
pub struct HttpTransport {
    client: reqwest::Client,
}

/// Bytes of an error's body that are shown.
const MAX_ERROR_BODY_BYTES: usize = 512;

impl HttpTransport {
    /// `timeout` covers a whole post. TLS checks certificates against the system's roots.
    ///
    /// # Errors
    /// When the TLS set-up of the process cannot be used.
    pub fn new(timeout: Duration) -> Result<HttpTransport, TransportError> {
        // Whoever comes first decides for the process; cairn has one provider, so a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("cairn/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(|client| HttpTransport { client })
            .map_err(|e| TransportError::Retry(format!("cannot set up the HTTP client: {e}")))
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn post(&self, to: &AlertmanagerUrl, body: Vec<u8>) -> Result<(), TransportError> {
        let answer = self
            .client
            .post(to.alerts_endpoint())
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .map_err(|e| TransportError::Retry(chain(&e.without_url())))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let mut text = answer.text().await.unwrap_or_default();
        text.truncate(text.floor_char_boundary(MAX_ERROR_BODY_BYTES));
        // Any other 4xx than these is a verdict on the body. 401 and 403 are about credentials, 404 and 405 about the
        // path: all of them an operator can put right, so the alerts wait.
        match status.as_u16() {
            status @ (400 | 413 | 415 | 422) => Err(TransportError::Refused { status, body: text }),
            status => Err(TransportError::Retry(format!("answered with status {status}: {text}"))),
        }
    }
}

/// An error and what caused it, on one line: reqwest says the reason only in its source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
