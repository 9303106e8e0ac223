//! An `http://host:port/path` address. TLS is out of scope: the generator measures the receiver, not a cipher.

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port` for the `Host` header.
    pub authority: String,
    /// Path with query, beginning with `/`.
    pub path: String,
}

impl Target {
    /// Parses a URL.
    ///
    /// # Errors
    /// When it is not plain HTTP.
    pub fn parse(url: &str) -> Result<Self> {
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("cannot use {url}: expected http://HOST:PORT/PATH (TLS is not supported)");
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, "/"),
        };
        if authority.is_empty() {
            bail!("cannot use {url}: it names no host");
        }
        let authority =
            if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Self { authority, path: path.to_owned() })
    }

    /// The first socket address of the host.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub fn address(&self) -> Result<SocketAddr> {
        self.authority
            .to_socket_addrs()
            .with_context(|| format!("cannot resolve {}", self.authority))?
            .next()
            .with_context(|| format!("cannot resolve {}: no address", self.authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_taken_apart_and_everything_else_refused() {
        let target = Target::parse("http://127.0.0.1:19291/api/v1/receive?x=1").unwrap();
        assert_eq!(
            (target.authority.as_str(), target.path.as_str()),
            ("127.0.0.1:19291", "/api/v1/receive?x=1")
        );
        assert_eq!(Target::parse("http://localhost").unwrap().authority, "localhost:80");
        for bad in ["https://a/", "http:///x", "localhost:9090"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
