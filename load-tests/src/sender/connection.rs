//! One HTTP/1.1 keep-alive connection that spends almost nothing: the caller hands over the whole request as bytes,
//! headers and body together, and one `write` carries it.
//!
//! Only what the answers of receivers need is read: status line, headers, a body by length, by chunks or to the end.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest an answer may take; a receiver that needs longer counts as gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Bytes of a body that are kept unless more is asked for; the rest is read and dropped.
const KEPT_BODY_BYTES: usize = 4 << 10;

/// An open connection.
pub struct Connection {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
    /// Whether the peer has said that it closes.
    closing: bool,
    kept_body_bytes: usize,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `X-Prometheus-Remote-Write-Samples-Written`, when present.
    pub written: Option<u64>,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// As the operating system's.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let stream = BufReader::with_capacity(8 << 10, stream);
        Ok(Self { stream, line: Vec::new(), closing: false, kept_body_bytes: KEPT_BODY_BYTES })
    }

    /// Keeps bodies up to `bytes`; a longer one is cut.
    pub fn keeping_bodies(mut self, bytes: usize) -> Self {
        self.kept_body_bytes = bytes;
        self
    }

    /// Whether another request may be sent.
    pub fn is_reusable(&self) -> bool {
        !self.closing
    }

    /// Sends one request and reads its answer. After an error the connection must be dropped.
    ///
    /// # Errors
    /// When the connection breaks, times out, or the answer is not HTTP/1.
    pub fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.get_mut().write_all(request)?;
        loop {
            let answer = self.read_answer()?;
            if answer.status >= 200 {
                return Ok(answer);
            }
        }
    }

    fn read_answer(&mut self) -> io::Result<Answer> {
        let status = parse_status(self.next_line()?)?;
        let mut head = Head::default();
        let mut read = 0;
        loop {
            let line = self.next_line()?;
            read += line.len();
            if read > MAX_HEAD_BYTES {
                return Err(broken("the answer's head is too long"));
            }
            if line.is_empty() {
                break;
            }
            head.take(line);
        }
        self.closing = head.close;
        let mut body = Vec::new();
        if status < 200 || status == 204 || status == 304 {
            // These never have a body, whatever their head says.
        } else if head.chunked {
            self.read_chunks(&mut body)?;
        } else if let Some(length) = head.length {
            self.read_body(length, &mut body)?;
        } else {
            self.closing = true;
            self.read_body(u64::MAX, &mut body)?;
        }
        Ok(Answer { status, written: head.written, body })
    }

    fn next_line(&mut self) -> io::Result<&[u8]> {
        self.line.clear();
        (&mut self.stream).take(MAX_HEAD_BYTES as u64).read_until(b'\n', &mut self.line)?;
        match self.line.strip_suffix(b"\n") {
            Some(line) => Ok(line.strip_suffix(b"\r").unwrap_or(line)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Reads `length` bytes, or to the end for `u64::MAX`, and keeps the first of them.
    fn read_body(&mut self, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
        let room = self.kept_body_bytes.saturating_sub(body.len()) as u64;
        let kept = (&mut self.stream).take(length.min(room)).read_to_end(body)? as u64;
        let dropped = io::copy(&mut (&mut self.stream).take(length - kept), &mut io::sink())?;
        if length != u64::MAX && kept + dropped < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.next_line()?;
            let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
            let text = std::str::from_utf8(digits).map_err(|_| broken("a chunk's length is not text"))?;
            let length =
                u64::from_str_radix(text, 16).map_err(|_| broken("a chunk's length is not hexadecimal"))?;
            if length == 0 {
                while !self.next_line()?.is_empty() {}
                return Ok(());
            }
            self.read_body(length, body)?;
            self.next_line()?;
        }
    }
}

#[derive(Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    written: Option<u64>,
}

impl Head {
    fn take(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { return };
        let value = line[colon + 1..].trim_ascii();
        let number = || std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
        let name = &line[..colon];
        if name.eq_ignore_ascii_case(b"content-length") {
            self.length = number();
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") {
            self.close = value.eq_ignore_ascii_case(b"close");
        } else if name.eq_ignore_ascii_case(b"x-prometheus-remote-write-samples-written") {
            self.written = number();
        }
    }
}

fn parse_status(line: &[u8]) -> io::Result<u16> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let mut words = text.split(' ');
    match (words.next(), words.next().and_then(|code| code.parse().ok())) {
        (Some("HTTP/1.1" | "HTTP/1.0"), Some(status)) => Ok(status),
        _ => Err(broken("the answer is not HTTP/1")),
    }
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// Answers of a scripted server to requests of one byte each.
    fn answers(script: &'static [&'static str]) -> Vec<io::Result<Answer>> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in script {
                let mut request = [0];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(address).unwrap();
        let all = script.iter().map(|_| connection.exchange(b"x")).collect();
        server.join().unwrap();
        all
    }

    #[test]
    fn bodies_by_length_by_chunks_and_none_leave_the_connection_ready() {
        let got = answers(&[
            "HTTP/1.1 204 No Content\r\nX-Prometheus-Remote-Write-Samples-Written: 12\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad",
            "HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ]);
        let got: Vec<Answer> = got.into_iter().map(Result::unwrap).collect();
        assert_eq!(got[0], Answer { status: 204, written: Some(12), body: vec![] });
        assert_eq!(got[1], Answer { status: 400, written: None, body: b"bad".to_vec() });
        assert_eq!(got[2], Answer { status: 503, written: None, body: b"abc".to_vec() });
        assert_eq!(got[3].status, 200);
    }

    #[test]
    fn an_answer_cut_short_or_not_http_is_an_error() {
        assert!(answers(&["HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\nbad"])[0].is_err());
        assert!(answers(&["HTTP/1.1 200 OK\r\nContent-"])[0].is_err());
        assert!(answers(&["SSH-2.0-hello\r\n"])[0].is_err());
    }
}
