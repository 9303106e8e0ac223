//! Jobs that have a thread to themselves: what would keep a computing thread from computing.
//!
//! A thread is started for each job; as many run at a time as there are places, and further jobs wait in order. Whoever
//! asked for a job may go away: the job goes on, and keeps its place until it has ended.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::Panicked;

/// The places for jobs of one kind.
pub(super) struct OwnThreads {
    /// Name of the threads.
    name: &'static str,
    /// How much they yield to others; 0 is not at all.
    nice: i32,
    places: Arc<Semaphore>,
    size: u32,
}

impl OwnThreads {
    pub(super) fn new(name: &'static str, nice: i32, size: u32) -> Self {
        OwnThreads { name, nice, places: Arc::new(Semaphore::new(size as usize)), size }
    }

    /// Runs `f` on a thread of its own and gives its result.
    ///
    /// # Errors
    /// [`Panicked`] when `f` panicked, or no thread could be started.
    #[allow(clippy::disallowed_methods)] // this crate is where threads are started
    pub(super) async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let place = self.places.clone().acquire_owned().await.expect(NEVER_CLOSED);
        let (done, result) = oneshot::channel();
        let nice = self.nice;
        let thread = move || {
            let _place = place;
            if nice != 0 {
                // Where the system refuses, it runs as all others do.
                let _ = rustix::process::setpriority_process(None, nice);
            }
            let _ = done.send(f()); // whoever waited may have gone
        };
        let started = std::thread::Builder::new().name(self.name.to_owned()).spawn(thread);
        if let Err(e) = started {
            tracing::error!(error = %e, "cannot start a thread: raise the limit of processes of this user or container");
            return Err(Panicked);
        }
        result.await.map_err(|_| Panicked)
    }

    /// Waits until no job runs or waits for a place. Jobs that come meanwhile begin afterwards.
    pub(super) async fn idle(&self) {
        let _all_places = self.places.acquire_many(self.size).await.expect(NEVER_CLOSED);
    }

    /// How many jobs run.
    pub(super) fn running(&self) -> usize {
        (self.size as usize).saturating_sub(self.places.available_permits())
    }
}

const NEVER_CLOSED: &str = "places are never closed";
