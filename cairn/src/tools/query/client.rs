//! One request to a Prometheus API, and the `data` of its answer.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::http_config::HttpConfig;

/// Longest wait for an answer. promtool's.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Why the server does not answer; said behind `query error: `.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It cannot be reached, or the connection broke.
    #[error("{method} {url:?}: {reason}")]
    Unreachable {
        /// GET or POST.
        method: &'static str,
        /// Of the request.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// It says what is wrong.
    #[error("{kind}: {message}")]
    Api {
        /// Prometheus' error type.
        kind: String,
        /// Its text.
        message: String,
    },
    /// Something else answers there.
    #[error("{url:?} does not answer as a Prometheus API (status {status})")]
    Foreign {
        /// Of the request.
        url: String,
        /// HTTP status.
        status: u16,
    },
}

/// Prometheus' envelope.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    #[serde(default)]
    data: serde_json::Value,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

/// A server.
pub struct Client {
    http: reqwest::Client,
    base: String,
    headers: HeaderMap,
}

impl Client {
    /// The API at `server`, which is http where it names no scheme. `headers` win over those of `config`.
    ///
    /// # Errors
    /// When a header cannot be sent, or the connection not be made as `config` wants it.
    pub fn new(server: &str, headers: &[String], config: &HttpConfig) -> Result<Self> {
        let scheme = if server.contains("://") { "" } else { "http://" };
        let base = format!("{scheme}{}", server.trim_end_matches('/'));
        let has_user = base.parse::<reqwest::Url>().is_ok_and(|url| !url.username().is_empty());
        ensure!(
            !(has_user && config.has_credentials()),
            "cannot use a user name in the server's URL and credentials of --http.config.file at the same time"
        );
        let http = config.connect_as(reqwest::Client::builder().timeout(TIMEOUT))?.build()?;
        let mut all = config.headers()?;
        for (name, value) in headers.iter().map(|h| header(h)).collect::<Result<Vec<_>>>()? {
            all.insert(name, value);
        }
        Ok(Client { http, base, headers: all })
    }

    /// POST of a form.
    ///
    /// # Errors
    /// [`Refused`], or an answer of another shape.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, form: String) -> Result<T> {
        let url = format!("{}{path}", self.base);
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = self.http.post(&url).header(CONTENT_TYPE, form_type).body(form);
        self.answer(request, "Post", url).await
    }

    /// GET of the values of label `name`; the API has no POST for them.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub async fn get_values<T: DeserializeOwned>(&self, name: &str, query: String) -> Result<T> {
        let name: String = name.bytes().map(in_path).collect();
        let url = format!("{}/api/v1/label/{name}/values?{query}", self.base);
        self.answer(self.http.get(&url), "Get", url).await
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        method: &'static str,
        url: String,
    ) -> Result<T> {
        let unreachable =
            |e: reqwest::Error| Refused::Unreachable { method, url: url.clone(), reason: root(&e) };
        let response = request.headers(self.headers.clone()).send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(unreachable)?;
        let foreign = || Refused::Foreign { url: url.clone(), status };
        let envelope: Envelope = serde_json::from_slice(&body).map_err(|_| foreign())?;
        envelope.warnings.iter().for_each(|w| eprintln!("query warning: {w}"));
        envelope.infos.iter().for_each(|i| eprintln!("query info: {i}"));
        if envelope.status != "success" {
            return Err(Refused::Api { kind: envelope.error_type, message: envelope.error }.into());
        }
        serde_json::from_value(envelope.data).with_context(|| format!("cannot read the answer of {url}"))
    }
}

/// Pairs as a form or query string.
pub fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue)> {
    let wrong = || format!("--header {text:?} is not NAME=VALUE");
    let (name, value) = text.split_once('=').with_context(wrong)?;
    Ok((name.parse().with_context(wrong)?, value.parse().with_context(wrong)?))
}

fn in_path(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    }
}

/// The innermost cause: what the system said.
fn root(e: &dyn std::error::Error) -> String {
    std::iter::successors(Some(e), |e| e.source()).last().map(ToString::to_string).unwrap_or_default()
}
