//! The smallest HTTP client that can ask a local server questions: one GET a connection, or many over one that stays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body, chunks put together.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).context("cannot read the answer as JSON")
    }
}

/// Gets `path` from `address` (`host:port`).
///
/// # Errors
/// When the server cannot be reached within 30 s or does not speak HTTP/1.
pub fn get(address: &str, path: &str) -> Result<Answer> {
    let what = || format!("cannot get http://{address}{path}");
    let socket = address.to_socket_addrs().with_context(what)?.next().with_context(what)?;
    let mut stream = TcpStream::connect_timeout(&socket, TIMEOUT).with_context(what)?;
    stream.set_read_timeout(Some(TIMEOUT)).with_context(what)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).with_context(what)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(what)?;
    parse(&bytes).with_context(what)
}

/// A connection that stays open from question to question, as dashboards and proxies keep theirs: what is timed over it
/// is the answer and not the handshake.
pub struct Connection {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to `address` (`host:port`).
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(address: &str) -> Result<Self> {
        let what = || format!("cannot connect to {address}");
        let socket = address.to_socket_addrs().with_context(what)?.next().with_context(what)?;
        let stream = TcpStream::connect_timeout(&socket, TIMEOUT).with_context(what)?;
        stream.set_read_timeout(Some(TIMEOUT)).with_context(what)?;
        stream.set_nodelay(true).with_context(what)?;
        Ok(Self { address: address.to_owned(), stream: BufReader::new(stream) })
    }

    /// Gets `path`.
    ///
    /// # Errors
    /// When the connection ends, or what comes over it is not HTTP/1 with a length.
    pub fn get(&mut self, path: &str) -> Result<Answer> {
        let what = format!("cannot get http://{}{path}", self.address);
        self.ask(path).context(what)
    }

    fn ask(&mut self, path: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let n = self.stream.read_until(b'\n', &mut head)?;
            ensure!(n > 0 && head.len() < MAX_HEAD_BYTES, "the answer has no end of its head");
        }
        let head = Head::parse(&head[..head.len() - 4])?;
        let body = match (head.chunked, head.length) {
            (true, _) => self.chunks()?,
            (false, Some(length)) => {
                let mut body = vec![0; length];
                self.stream.read_exact(&mut body)?;
                body
            }
            (false, None) => anyhow::bail!("the answer has no length"),
        };
        Ok(Answer { status: head.status, body })
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let (mut body, mut line) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            ensure!(self.stream.read_until(b'\n', &mut line)? > 0, "the answer ends within a chunk");
            let length = chunk_length(line.trim_ascii_end())?;
            let begin = body.len();
            body.resize(begin + length + 2, 0); // the line end behind the chunk
            self.stream.read_exact(&mut body[begin..])?;
            body.truncate(begin + length);
            if length == 0 {
                return Ok(body);
            }
        }
    }
}

/// `text` as the value of a parameter.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Heads of our peers are well below a kilobyte.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// What matters of the lines before a body.
struct Head {
    status: u16,
    chunked: bool,
    length: Option<usize>,
}

impl Head {
    fn parse(head: &[u8]) -> Result<Self> {
        let head = std::str::from_utf8(head).context("the answer's head is not text")?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        ensure!(status.starts_with("HTTP/1."), "the answer is not HTTP/1");
        let status =
            status.split(' ').nth(1).and_then(|s| s.parse().ok()).context("the answer has no status")?;
        let (mut chunked, mut length) = (false, None);
        for line in lines {
            let line = line.to_ascii_lowercase().replace(' ', "");
            chunked |= line == "transfer-encoding:chunked";
            length = length.or_else(|| line.strip_prefix("content-length:")?.parse().ok());
        }
        Ok(Self { status, chunked, length })
    }
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no end of its head")?;
    let head = Head::parse(&bytes[..end])?;
    let body = &bytes[end + 4..];
    Ok(Answer { status: head.status, body: if head.chunked { unchunk(body)? } else { body.to_vec() } })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|w| w == b"\r\n").context("a chunk has no length")?;
        let length = chunk_length(&rest[..end])?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Ok(body);
        }
        ensure!(rest.len() >= length + 2, "the answer ends within a chunk");
        body.extend_from_slice(&rest[..length]);
        rest = &rest[length + 2..];
    }
}

/// The length that the line before a chunk names.
fn chunk_length(line: &[u8]) -> Result<usize> {
    let length = std::str::from_utf8(line).unwrap_or_default();
    usize::from_str_radix(length.split(';').next().unwrap_or_default().trim(), 16)
        .context("a chunk's length is not hexadecimal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_with_and_without_chunks_are_read() {
        let plain = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!(plain, Answer { status: 200, body: b"hi".to_vec() });
        let chunked =
            parse(b"HTTP/1.1 422 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;e=f\r\nd\r\n0\r\n\r\n")
                .unwrap();
        assert_eq!(chunked, Answer { status: 422, body: b"abcd".to_vec() });
    }

    #[test]
    fn what_is_cut_short_or_not_http_is_an_error() {
        for bad in
            ["", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc\r\n"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_connection_is_asked_more_than_once() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap().to_string();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut asked = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
                "HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            ] {
                asked.by_ref().find(String::is_empty);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(&address).unwrap();
        assert_eq!(connection.get("/a").unwrap(), Answer { status: 200, body: b"hi".to_vec() });
        assert_eq!(connection.get("/b").unwrap(), Answer { status: 404, body: b"abc".to_vec() });
        served.join().unwrap();
        assert!(connection.get("/c").is_err());
    }

    #[test]
    fn parameters_are_escaped() {
        assert_eq!(escape("sum(x{a=\"b\"})"), "sum%28x%7Ba%3D%22b%22%7D%29");
    }
}
