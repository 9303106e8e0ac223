//! One request, one connection, any method.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
pub struct Asked {
    pub status: u16,
    /// The header lines in lower case, sorted.
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Asked {
    /// The body as JSON, or as a JSON string of its text.
    pub fn json(&self) -> Value {
        let text = || Value::String(String::from_utf8_lossy(&self.body).into_owned());
        serde_json::from_slice(&self.body).unwrap_or_else(|_| text())
    }

    /// Header lines that begin with `prefix`.
    pub fn headers_of(&self, prefix: &str) -> Vec<&str> {
        self.headers.iter().map(String::as_str).filter(|h| h.starts_with(prefix)).collect()
    }
}

/// Sends a request; `headers` are whole lines.
pub fn ask(
    address: &str,
    method: &str,
    path: &str,
    headers: &[String],
    body: impl AsRef<[u8]>,
) -> Result<Asked> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let extra: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let body = body.as_ref();
    let length = body.len();
    // HTTP/1.0: the body ends with the connection, and is never chunked.
    let head =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n{extra}\r\n");
    // In one piece: a server that answers before it reads the body resets the connection when more of it comes.
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n").context("no end of headers")?;
    let head = String::from_utf8(answer[..end].to_vec())?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status")?;
    let mut headers: Vec<String> = head.lines().skip(1).map(str::to_ascii_lowercase).collect();
    headers.sort();
    Ok(Asked { status, headers, body: answer[end + 4..].to_vec() })
}

/// Percent-encodes what may not stand in a request line; separators and escapes that are there stay.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"?&=/:%+,.-_~()[]@!*'".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Percent-encodes everything but letters and digits.
pub fn escape_value(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}
