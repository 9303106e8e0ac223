//! Empties one outbox into one Alertmanager: batch after batch, with growing pauses while it is away.
//!
//! A batch that is refused as a whole is halved until the alert that spoils it stands alone; only that one is given up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::{Runtime, Shutdown};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::SenderMetrics;
use crate::outbox::{Due, Outbox};
use crate::persist;
use crate::transport::{Transport, TransportError};
use crate::url::AlertmanagerUrl;
use crate::wire;

/// Alerts in one post, Prometheus' number.
pub(crate) const BATCH_ALERTS: usize = 256;
/// Pause after the first failed post; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(500);
/// Longest pause: an Alertmanager that comes back hears of its alerts within half a minute.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// An outbox is written to disk at most this often.
const SAVE_INTERVAL: Duration = Duration::from_secs(1);

/// One Alertmanager with its outbox.
pub(crate) struct Sender {
    pub url: AlertmanagerUrl,
    pub outbox: Mutex<Outbox>,
    /// Something was put in.
    pub wake: Notify,
    pub metrics: SenderMetrics,
    pub transport: Arc<dyn Transport>,
    pub runtime: Runtime,
    /// Where the outbox is kept, if anywhere.
    pub path: Option<PathBuf>,
    /// What the file holds, so that an unchanged outbox is not written again.
    pub saved: Mutex<Option<Vec<u8>>>,
}

/// How a round of posts went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// Nothing is left.
    Empty,
    /// There is more.
    More,
    /// The Alertmanager is away or asks for patience.
    Failed,
}

impl Sender {
    /// Sends until shutdown; then tries once more what is left and saves the rest.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let mut backoff = MIN_BACKOFF;
        let mut last_save = self.runtime.clock.monotonic();
        while !shutdown.has_begun() {
            let round = self.round().await;
            let now = self.runtime.clock.monotonic();
            if now - last_save >= SAVE_INTERVAL {
                self.save().await;
                last_save = now;
            }
            match round {
                Round::More => backoff = MIN_BACKOFF,
                Round::Empty => {
                    backoff = MIN_BACKOFF;
                    self.save().await;
                    tokio::select! {
                        () = shutdown.begun() => break,
                        () = self.wake.notified() => {}
                    }
                }
                Round::Failed => {
                    self.save().await;
                    // Between half and all of the pause, so that many senders do not come back at once.
                    let pause = backoff.mul_f64(0.5 + self.runtime.rng.unit() / 2.0);
                    backoff = (backoff * 2).min(MAX_BACKOFF);
                    tokio::select! {
                        () = shutdown.begun() => break,
                        () = self.runtime.clock.sleep(pause) => {}
                    }
                }
            }
        }
        while self.round().await == Round::More {}
        self.save().await;
    }

    /// Posts one batch.
    async fn round(&self) -> Round {
        let batch = self.outbox.lock().due(BATCH_ALERTS);
        if batch.is_empty() {
            return Round::Empty;
        }
        let delivered = self.deliver(&batch).await;
        let mut outbox = self.outbox.lock();
        outbox.advance(&batch);
        self.metrics.queue_length.set(outbox.len() as i64);
        match delivered {
            Ok(()) => Round::More,
            Err(reason) => {
                let waiting = outbox.len();
                drop(outbox);
                tracing::warn!(alertmanager = %self.url, waiting, error = %reason, "cannot deliver alerts, will try again");
                Round::Failed
            }
        }
    }

    /// Posts the alerts and settles those accepted or refused for good. Stops at the first failure worth a retry.
    async fn deliver(&self, batch: &[Due]) -> Result<(), TransportError> {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match self.post(part).await {
                Ok(()) => {
                    self.metrics.sent.inc_by(part.len() as u64);
                    self.settle(part);
                }
                Err(TransportError::Refused { status, body }) => match part {
                    [alert] => {
                        self.metrics.refused.inc();
                        self.metrics.dropped.inc();
                        tracing::error!(alertmanager = %self.url, alert = %alert.labels, status, body, "alert refused: dropped");
                        self.settle(part);
                    }
                    many => {
                        let (left, right) = many.split_at(many.len() / 2);
                        parts.extend([right, left]);
                    }
                },
                Err(retry) => return Err(retry),
            }
        }
        Ok(())
    }

    async fn post(&self, part: &[Due]) -> Result<(), TransportError> {
        let body = wire::body(part, self.runtime.clock.now_ms());
        let start = self.runtime.clock.monotonic();
        let answer = self.transport.post(&self.url, body).await;
        self.metrics.latency_s.observe((self.runtime.clock.monotonic() - start).as_secs_f64());
        if answer.is_err() {
            self.metrics.errors.inc();
        }
        answer
    }

    fn settle(&self, part: &[Due]) {
        let mut outbox = self.outbox.lock();
        part.iter().for_each(|due| outbox.settle(due));
    }

    /// Writes the outbox if it changed. A disk that fails is counted; sending goes on.
    async fn save(&self) {
        let Some(path) = self.path.clone() else { return };
        let content = {
            let outbox = self.outbox.lock();
            (!outbox.is_empty()).then(|| persist::encode(&outbox, &self.url))
        };
        if *self.saved.lock() == content {
            return;
        }
        let disk = self.runtime.disk.clone();
        let written = content.clone();
        let save = move || persist::save(&*disk, &path, written.as_deref());
        let done = self.runtime.cpu.run_blocking(save).await;
        match done {
            Ok(Ok(())) => *self.saved.lock() = content,
            Ok(Err(e)) => {
                self.metrics.unsaved.inc();
                tracing::warn!(alertmanager = %self.url, error = %e, "cannot save undelivered alerts");
            }
            Err(panicked) => {
                tracing::error!(alertmanager = %self.url, error = %panicked, "cannot save undelivered alerts")
            }
        }
    }
}
