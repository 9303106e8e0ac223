//! A client for tests: one request, one connection.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// GET; gives status and body.
pub fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let extra: String = headers.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    // HTTP/1.0: the body ends with the connection, and is never chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{extra}\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no end of headers")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
    Ok((status, body.to_owned()))
}

/// `data` of a Prometheus API call.
pub fn api(address: &str, path: &str, headers: &[(&str, &str)]) -> Result<Value> {
    let (status, body) = get(address, path, headers)?;
    ensure!(status == 200, "{path}: status {status}: {body}");
    let mut answer: Value = serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))?;
    Ok(answer["data"].take())
}

/// The first metric of `/metrics` whose line begins so.
pub fn metric(address: &str, begin: &str) -> Result<f64> {
    let (_, text) = get(address, "/metrics", &[])?;
    let line = text.lines().find(|l| l.starts_with(begin)).with_context(|| format!("no {begin}"))?;
    Ok(line.rsplit(' ').next().context("a value")?.parse()?)
}

/// Percent-encodes everything that is not a letter or digit.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
