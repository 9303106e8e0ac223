//! Closes connections that hold a slot and do nothing: a request head that does not arrive, a keep-alive that is
//! not used, an answer that is not read.
//!
//! [`GuardedStream`] wraps the socket; the server tells it through [`Activity`] when requests begin and end, so
//! that it never interrupts one that is being worked on.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use cairn_runtime::{Clock, Stream};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between requests. Longer than any scrape interval in use, so that senders keep their connections.
    pub idle: Duration,
    /// Without a byte of the answer being taken.
    pub write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            write: Duration::from_secs(60),
        }
    }
}

/// Requests of one connection.
#[derive(Debug, Default)]
pub struct Activity {
    in_flight: AtomicUsize,
    finished: AtomicU64,
    /// Woken when a request ends, because the wait for the next one begins then.
    reader: AtomicWaker,
}

/// A request that is being worked on, until it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Activity>);

impl Activity {
    /// A request's head has been read.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.finished.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Release);
        self.0.reader.wake();
    }
}

/// What the reading side waits for while no request is being worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The rest of a request's head.
    Head,
    /// The next request.
    Idle,
}

/// A socket with [`Patience`].
pub struct GuardedStream {
    inner: Box<dyn Stream>,
    clock: Arc<dyn Clock>,
    patience: Patience,
    activity: Arc<Activity>,
    waiting: Waiting,
    /// Requests that had finished when `waiting` was last set.
    finished: u64,
    /// HTTP/2 sends frames between requests, so bytes do not mean that a head has begun.
    http2: Option<bool>,
    read_deadline: Option<BoxFuture<'static, ()>>,
    write_deadline: Option<BoxFuture<'static, ()>>,
}

impl GuardedStream {
    /// Guards `inner`; a fresh connection must begin with a request at once.
    pub fn new(
        inner: Box<dyn Stream>,
        clock: Arc<dyn Clock>,
        patience: Patience,
        activity: Arc<Activity>,
    ) -> Self {
        GuardedStream {
            inner,
            clock,
            patience,
            activity,
            waiting: Waiting::Head,
            finished: 0,
            http2: None,
            read_deadline: None,
            write_deadline: None,
        }
    }

    /// Bytes have come.
    fn note_read(&mut self, bytes: &[u8]) {
        let http2 = *self.http2.get_or_insert_with(|| bytes.starts_with(b"PRI"));
        if self.activity.in_flight.load(Ordering::Acquire) > 0 {
            return;
        }
        let finished = self.activity.finished.load(Ordering::Relaxed);
        if http2 {
            if self.waiting == Waiting::Head {
                (self.waiting, self.read_deadline) = (Waiting::Idle, None);
            }
        } else if self.waiting == Waiting::Idle || self.finished != finished {
            (self.waiting, self.finished, self.read_deadline) = (Waiting::Head, finished, None);
        }
    }

    /// Runs while nothing can be read: fails when that has lasted too long.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.activity.reader.register(cx.waker());
        if self.activity.in_flight.load(Ordering::Acquire) > 0 {
            self.read_deadline = None;
            return Poll::Pending;
        }
        let finished = self.activity.finished.load(Ordering::Relaxed);
        if self.finished != finished {
            (self.waiting, self.finished, self.read_deadline) = (Waiting::Idle, finished, None);
        }
        let patience = match self.waiting {
            Waiting::Head => self.patience.head,
            Waiting::Idle => self.patience.idle,
        };
        let deadline = self.read_deadline.get_or_insert_with(|| self.clock.sleep(patience));
        deadline.poll_unpin(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_write_deadline<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_deadline = None;
            return written;
        }
        let deadline = self.write_deadline.get_or_insert_with(|| self.clock.sleep(self.patience.write));
        deadline.poll_unpin(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(read) => {
                self.note_read(&buf.filled()[before..]);
                Poll::Ready(read)
            }
            Poll::Pending => self.poll_read_deadline(cx),
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.poll_write_deadline(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.poll_write_deadline(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.poll_write_deadline(cx, closed)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.poll_write_deadline(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
