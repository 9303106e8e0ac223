//! Sockets.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connected byte stream.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Accepts connections.
#[async_trait]
pub trait Listener: Send + Sync {
    /// The next connection and its peer.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, SocketAddr)>;

    /// Where it listens; with port 0 asked for, the port that was found.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Opens sockets.
#[async_trait]
pub trait Net: Send + Sync {
    /// Listens on `addr`, `host:port`.
    async fn bind(&self, addr: &str) -> io::Result<Box<dyn Listener>>;

    /// Connects to `addr`, `host:port`.
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn Stream>>;
}

/// TCP of the machine, with Nagle's delay off.
pub struct TcpNet;

struct TcpAcceptor(tokio::net::TcpListener);

#[async_trait]
impl Listener for TcpAcceptor {
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

#[async_trait]
impl Net for TcpNet {
    #[allow(clippy::disallowed_methods)] // this is the one place that may
    async fn bind(&self, addr: &str) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(TcpAcceptor(tokio::net::TcpListener::bind(addr).await?)))
    }

    #[allow(clippy::disallowed_methods)] // this is the one place that may
    async fn connect(&self, addr: &str) -> io::Result<Box<dyn Stream>> {
        let stream = tokio::net::TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn port_zero_finds_a_port_and_bytes_arrive() {
        let listener = TcpNet.bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        assert_ne!(addr.port(), 0);
        let addr = addr.to_string();
        let (server, client) = tokio::join!(listener.accept(), TcpNet.connect(&addr));
        let (mut server, mut client) = (server.unwrap().0, client.unwrap());
        client.write_all(b"hello").await.unwrap();
        let mut got = [0; 5];
        server.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hello");
    }
}
