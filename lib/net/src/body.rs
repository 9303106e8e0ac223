//! Request bodies: read in bounded time, or thrown away so that the client reads the answer.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use cairn_runtime::Clock;
use futures::future::BoxFuture;
use http_body_util::BodyExt;

use crate::error::ApiError;

/// How long a client may take for one body. Judgement: twice a stock sender's own timeout (30 s).
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a refused body is read and thrown away. As large as the largest body that is accepted.
pub const MAX_DISCARDED_BYTES: u64 = 32 << 20;

/// How long a refused body is read.
pub const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body piece by piece.
pub struct BodyReader {
    body: Body,
    clock: Arc<dyn Clock>,
    deadline: Option<BoxFuture<'static, ()>>,
    timeout: Duration,
    at_end: bool,
}

/// Why a body did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Too slow.
    #[error("cannot read the body: it did not arrive within {0:?}")]
    Timeout(Duration),
    /// The connection broke, or the framing is damaged.
    #[error("cannot read the body: {0}")]
    Broken(String),
}

impl From<BodyError> for ApiError {
    fn from(e: BodyError) -> Self {
        match e {
            BodyError::Timeout(_) => ApiError::RequestTimeout(e.to_string()),
            BodyError::Broken(_) => ApiError::BadRequest(e.to_string()),
        }
    }
}

impl BodyReader {
    /// Reads `body`, all of which must arrive within `timeout` of the first wait.
    pub fn new(body: Body, clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        let at_end = body.is_end_stream();
        BodyReader { body, clock, deadline: None, timeout, at_end }
    }

    /// The next piece, or `None` at the end. Trailers are ignored.
    ///
    /// # Errors
    /// [`BodyError`] when the rest does not come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let mut frame = self.body.frame();
            // What is there already needs no timer.
            let ready = match futures::poll!(&mut frame) {
                std::task::Poll::Ready(frame) => frame,
                std::task::Poll::Pending => {
                    let deadline = self.deadline.get_or_insert_with(|| self.clock.sleep(self.timeout));
                    tokio::select! {
                        biased;
                        frame = frame => frame,
                        () = deadline => return Err(BodyError::Timeout(self.timeout)),
                    }
                }
            };
            match ready {
                None => {
                    self.at_end = true;
                    return Ok(None);
                }
                Some(Err(e)) => return Err(BodyError::Broken(e.to_string())),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Whether all of the body has been read.
    pub fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Reads on and throws away, [`MAX_DISCARDED_BYTES`] and [`DISCARD_TIMEOUT`] at most: a client that is still
    /// sending when the answer comes may never read it. `true` when the end was reached.
    pub async fn discard(mut self) -> bool {
        self.deadline = Some(self.clock.sleep(DISCARD_TIMEOUT));
        let mut left = MAX_DISCARDED_BYTES;
        loop {
            match self.next().await {
                Ok(None) => return true,
                Ok(Some(data)) if data.len() as u64 <= left => left -= data.len() as u64,
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::TokioClock;

    fn reader(body: Body) -> BodyReader {
        BodyReader::new(body, Arc::new(TokioClock::starting_at(0)), BODY_TIMEOUT)
    }

    fn endless(piece: usize) -> Body {
        let piece = Bytes::from(vec![0; piece]);
        Body::from_stream(futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone())))
    }

    fn stalled() -> Body {
        Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>())
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_times_out() {
        assert_eq!(reader(stalled()).next().await, Err(BodyError::Timeout(BODY_TIMEOUT)));
        assert!(!reader(stalled()).discard().await);
    }

    #[tokio::test(start_paused = true)]
    async fn refused_bodies_are_read_to_a_bound() {
        assert!(reader(Body::from(vec![0; 1 << 20])).discard().await);
        assert!(!reader(endless(1 << 20)).discard().await);
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_come_in_order() {
        let mut r = reader(Body::from("abc"));
        assert_eq!(r.next().await, Ok(Some(Bytes::from_static(b"abc"))));
        assert_eq!(r.next().await, Ok(None));
    }
}
