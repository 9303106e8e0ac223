//! Accepts connections and serves a router over HTTP/1.1 and HTTP/2.
//!
//! One task a connection. At shutdown the listener closes first, then every connection finishes the request in
//! hand, answers it with `Connection: close` and ends; what is left after [`ServerConfig::drain`] is cut.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use cairn_runtime::{Listener, Runtime, Shutdown, Stream};
use http::{Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::access::HttpMetrics;
use crate::guard::{Activity, GuardedStream, InFlight, Patience};

/// Largest head of a request. hyper's least is 8 KiB; stock senders need below 1 KiB.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Requests at once on one HTTP/2 connection.
const MAX_HTTP2_STREAMS: u32 = 256;
/// Pause after a failed accept, for instance when the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How one server behaves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// For logs and as the name of the task.
    pub name: &'static str,
    /// Open connections at a time; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// When to give up on a connection.
    pub patience: Patience,
    /// How long requests in hand may take after shutdown has begun.
    pub drain: Duration,
}

impl ServerConfig {
    /// The defaults. 4,096 connections: a thousand Prometheus servers with four shards each.
    pub fn named(name: &'static str) -> Self {
        ServerConfig {
            name,
            max_connections: 4096,
            patience: Patience::default(),
            drain: Duration::from_secs(30),
        }
    }
}

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The address is in use, not ours, or needs rights.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address as configured.
        addr: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What all HTTP servers of a process share.
#[derive(Clone)]
pub struct HttpStack {
    runtime: Runtime,
    metrics: HttpMetrics,
}

/// A server that listens and does not serve yet.
pub struct Bound {
    stack: HttpStack,
    config: ServerConfig,
    listener: Box<dyn Listener>,
    addr: SocketAddr,
}

impl HttpStack {
    /// Registers the metrics, so once a process.
    pub fn new(runtime: &Runtime) -> Self {
        let metrics = HttpMetrics::new(&runtime.metrics, runtime.clock.clone());
        HttpStack { runtime: runtime.clone(), metrics }
    }

    /// Listens on `addr`, `host:port`; port 0 finds a free one. Connections wait until [`Bound::serve`].
    ///
    /// # Errors
    /// [`NetError::Bind`].
    pub async fn bind(&self, addr: &str, config: ServerConfig) -> Result<Bound, NetError> {
        let failed = |source| NetError::Bind { addr: addr.to_owned(), source };
        let listener = self.runtime.net.bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Bound { stack: self.clone(), config, listener, addr })
    }
}

impl Bound {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `router` until the process shuts down, in the background. What it gives can replace the routes.
    pub fn serve(self, router: Router) -> Serving {
        let Bound { stack, config, listener, .. } = self;
        let name = config.name;
        let server = Arc::new(Server {
            router: RwLock::new(stack.metrics.wrap(router)),
            slots: Arc::new(Semaphore::new(config.max_connections.max(1))),
            stack,
            config,
            listener: tokio::sync::Mutex::new(Some(listener)),
        });
        let (tasks, clock) = (server.stack.runtime.tasks.clone(), server.stack.runtime.clock.clone());
        let serving = Serving { server: server.clone() };
        tasks.spawn_loop(name, clock, move |shutdown| server.clone().accept_loop(shutdown));
        serving
    }
}

/// A server that serves.
pub struct Serving {
    server: Arc<Server>,
}

impl Serving {
    /// From the next request on `router` answers, on open connections too: for a process that can do more than when it
    /// began to serve.
    pub fn replace(&self, router: Router) {
        *self.server.router.write() = self.server.stack.metrics.wrap(router);
    }
}

struct Server {
    stack: HttpStack,
    config: ServerConfig,
    router: RwLock<Router>,
    slots: Arc<Semaphore>,
    /// Taken and dropped when shutdown begins, so that new connections are refused at once. Only the accept
    /// loop locks it.
    listener: tokio::sync::Mutex<Option<Box<dyn Listener>>>,
}

impl Server {
    async fn accept_loop(self: Arc<Self>, shutdown: Shutdown) {
        let mut listener = self.listener.lock().await;
        loop {
            let Some(open) = listener.as_deref() else { return };
            let next = async {
                let slot = self.slots.clone().acquire_owned().await.expect("the slots are never closed");
                (slot, open.accept().await)
            };
            let accepted = tokio::select! {
                () = shutdown.begun() => None,
                accepted = next => Some(accepted),
            };
            match accepted {
                None => *listener = None,
                Some((slot, Ok((stream, peer)))) => {
                    let connection = self.clone().connection(stream, peer, slot, shutdown.clone());
                    self.stack.runtime.tasks.spawn("http_connection", connection);
                }
                Some((_, Err(e))) => {
                    warn!(server = self.config.name, error = %e, "cannot accept a connection");
                    self.stack.runtime.clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(
        self: Arc<Self>,
        stream: Box<dyn Stream>,
        peer: SocketAddr,
        _slot: OwnedSemaphorePermit,
        shutdown: Shutdown,
    ) {
        let open = Counted::new(&self.stack.metrics);
        let activity = Arc::new(Activity::default());
        let clock = self.stack.runtime.clock.clone();
        let stream = GuardedStream::new(stream, clock.clone(), self.config.patience, activity.clone());
        let service =
            service_fn(|request| answer(self.router.read().clone(), activity.begin(), peer, request));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().max_buf_size(MAX_HEAD_BYTES);
        builder.http2().max_concurrent_streams(MAX_HTTP2_STREAMS).max_header_list_size(MAX_HEAD_BYTES as u32);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = shutdown.begun() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => Some(ended),
                    () = clock.sleep(self.config.drain) => None,
                }
            }
        };
        match ended {
            Some(Ok(())) => open.ended("closed"),
            Some(Err(e)) => {
                debug!(server = self.config.name, %peer, error = %e, "connection ended");
                open.ended("error");
            }
            None => {
                warn!(server = self.config.name, %peer, "connection cut: its request outlived the shutdown");
                open.ended("cut");
            }
        }
    }
}

async fn answer(
    router: Router,
    in_flight: InFlight,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.oneshot(request).await?;
    Ok(response.map(|body| Body::new(HeldBody { body, _in_flight: in_flight })))
}

/// The body of an answer: its request is in hand until the body has been taken, not until it begins.
struct HeldBody {
    body: Body,
    _in_flight: InFlight,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts a connection as open until it is dropped.
struct Counted<'m>(&'m HttpMetrics);

impl<'m> Counted<'m> {
    fn new(metrics: &'m HttpMetrics) -> Self {
        metrics.connections.inc();
        Counted(metrics)
    }

    fn ended(self, how: &str) {
        self.0.connections_closed.with_label_values(&[how]).inc();
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
