//! Background work: named, supervised, counted, and stopped together.
//!
//! A *loop* is restarted with a growing pause when it panics, so one bad input cannot end a subsystem; the
//! restart is logged and counted. Shutdown is one token: work watches it, finishes what it promised, and
//! [`Tasks::stop`] waits for all of it.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use prometheus::IntCounterVec;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::metrics::Metrics;

/// Pause before the first restart of a loop; doubles up to [`RESTART_PAUSE_MAX`].
const RESTART_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause between restarts.
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);

/// Tells work to finish. Clones share the state; children stop with their parents.
#[derive(Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Not shutting down yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to shut down. Repeating it changes nothing.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether shutdown has begun.
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when shutdown begins.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// Stops with this one, and can be stopped alone.
    pub fn child(&self) -> Shutdown {
        Shutdown(self.0.child_token())
    }
}

/// Spawns and supervises. Clones share everything.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    shutdown: Shutdown,
    panics: IntCounterVec,
}

impl Tasks {
    /// Counts restarts in `metrics`.
    pub fn new(metrics: &Metrics) -> Self {
        let panics = metrics.counter_vec(
            "cairn_task_panics_total",
            "Background tasks that ended by a panic.",
            &["task"],
        );
        Tasks { tracker: TaskTracker::new(), shutdown: Shutdown::new(), panics }
    }

    /// The process' shutdown signal.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Background work that has not ended.
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Runs `work` to its end. A panic is logged and counted.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let panics = self.panics.clone();
        self.tracker.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                panics.with_label_values(&[name]).inc();
                error!(task = name, "task ended by a panic");
            }
        });
    }

    /// Runs `work` again and again until it returns normally or shutdown begins; a panic restarts it.
    pub fn spawn_loop<F, W>(&self, name: &'static str, clock: std::sync::Arc<dyn crate::Clock>, mut work: F)
    where
        F: FnMut(Shutdown) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let (panics, shutdown) = (self.panics.clone(), self.shutdown.clone());
        self.tracker.spawn(async move {
            let mut pause = RESTART_PAUSE_MIN;
            while AssertUnwindSafe(work(shutdown.clone())).catch_unwind().await.is_err() {
                panics.with_label_values(&[name]).inc();
                warn!(
                    task = name,
                    pause_ms = pause.as_millis() as u64,
                    "task panicked and will be restarted"
                );
                tokio::select! {
                    () = shutdown.begun() => return,
                    () = clock.sleep(pause) => {}
                }
                pause = (pause * 2).min(RESTART_PAUSE_MAX);
            }
        });
    }

    /// Runs `work` on a thread of its own: for one that blocks on the disk all the time. Its owner ends it; [`Tasks::stop`]
    /// does not wait for it, because what it serves is closed after all other work.
    ///
    /// # Errors
    /// When the system has no thread left.
    #[allow(clippy::disallowed_methods)] // this is the one place that may
    pub fn spawn_thread(
        &self,
        name: &'static str,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<std::thread::JoinHandle<()>> {
        let panics = self.panics.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
                panics.with_label_values(&[name]).inc();
                error!(task = name, "thread ended by a panic");
            }
        })
    }

    /// Begins shutdown and waits until all work has ended, `patience` at most. `false` when some had not.
    pub async fn stop(&self, clock: &dyn crate::Clock, patience: Duration) -> bool {
        self.shutdown.begin();
        self.tracker.close();
        tokio::select! {
            () = self.tracker.wait() => true,
            () = clock.sleep(patience) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TokioClock;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_is_restarted_and_counted() {
        let metrics = Metrics::new();
        let tasks = Tasks::new(&metrics);
        let clock: Arc<dyn crate::Clock> = Arc::new(TokioClock::starting_at(0));
        let runs = Arc::new(AtomicU32::new(0));
        let counted = runs.clone();
        tasks.spawn_loop("flaky", clock.clone(), move |_| {
            let n = counted.fetch_add(1, Ordering::SeqCst);
            async move { assert!(n >= 2, "expected by the test") }
        });
        tasks.tracker.close();
        tasks.tracker.wait().await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert!(metrics.render().contains("cairn_task_panics_total{task=\"flaky\"} 2"));
    }

    #[tokio::test(start_paused = true)]
    async fn stop_waits_for_work_and_says_when_it_gave_up() {
        let clock = TokioClock::starting_at(0);
        let tasks = Tasks::new(&Metrics::new());
        let shutdown = tasks.shutdown().clone();
        tasks.spawn("polite", async move { shutdown.begun().await });
        assert!(tasks.stop(&clock, Duration::from_secs(1)).await);

        let tasks = Tasks::new(&Metrics::new());
        tasks.spawn("deaf", std::future::pending());
        assert!(!tasks.stop(&clock, Duration::from_secs(1)).await);
    }
}
