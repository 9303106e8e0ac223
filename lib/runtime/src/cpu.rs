//! Long computations beside the event loop.
//!
//! Anything that computes for more than about half a millisecond runs here, so that sockets keep being served. Work that
//! nobody waits for runs behind all else: on threads of its own, which the system gives the time that is left.
//! In a simulation everything runs inline, which keeps the order of effects a function of the seed.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

/// Niceness of background threads. Judgement: a tenth of a core when all others are busy, so that locks they hold are
/// given back soon.
const BACKGROUND_NICE: i32 = 10;

/// A bounded pool of computing threads.
#[derive(Clone)]
pub struct CpuPool {
    slots: Option<Slots>,
    threads: usize,
}

#[derive(Clone)]
struct Slots {
    awaited: Arc<Semaphore>,
    background: Arc<Semaphore>,
}

/// The computation panicked; its message is in the log.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("computation ended by an internal error (see the log)")]
pub struct Panicked;

impl CpuPool {
    /// At most `threads` computations at a time, and as many in the background; further ones wait in order.
    pub fn threads(threads: usize) -> Self {
        let threads = threads.max(1);
        let slots = || Arc::new(Semaphore::new(threads));
        CpuPool { slots: Some(Slots { awaited: slots(), background: slots() }), threads }
    }

    /// Runs everything on the caller's thread.
    pub fn inline() -> Self {
        CpuPool { slots: None, threads: 1 }
    }

    /// Whether everything runs on the caller's thread, so that nothing may wait for another thread.
    pub fn is_inline(&self) -> bool {
        self.slots.is_none()
    }

    /// How many computations run at once.
    pub fn parallelism(&self) -> usize {
        self.threads
    }

    /// Runs `f` and gives its result.
    ///
    /// # Errors
    /// [`Panicked`] when `f` panicked.
    #[allow(clippy::disallowed_methods)] // this is the one place that may
    pub async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let Some(slots) = &self.slots else { return caught(f) };
        let permit = slots.awaited.clone().acquire_owned().await.expect(NEVER_CLOSED);
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            f()
        })
        .await
        .map_err(|_| Panicked)
    }

    /// Runs `f`, which no request waits for, on a thread that yields to all others, and gives its result.
    ///
    /// # Errors
    /// [`Panicked`] when `f` panicked, or no thread could be started.
    #[allow(clippy::disallowed_methods)] // this is the one place that may
    pub async fn run_behind<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let Some(slots) = &self.slots else { return caught(f) };
        let permit = slots.background.clone().acquire_owned().await.expect(NEVER_CLOSED);
        let (done, result) = oneshot::channel();
        let thread = move || {
            // Where the system refuses, it runs as all others do.
            let _ = rustix::process::setpriority_process(None, BACKGROUND_NICE);
            let _permit = permit;
            let _ = done.send(f()); // whoever waited may have gone
        };
        let started = std::thread::Builder::new().name("background".to_owned()).spawn(thread);
        if let Err(e) = started {
            tracing::error!(error = %e, "cannot start a thread");
            return Err(Panicked);
        }
        result.await.map_err(|_| Panicked)
    }
}

const NEVER_CLOSED: &str = "the pool's semaphores are never closed";

fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_slot() {
        for pool in [CpuPool::threads(1), CpuPool::inline()] {
            assert!(pool.run(|| panic!("expected by the test")).await.is_err());
            assert_eq!(pool.run(|| 7).await.unwrap(), 7);
            assert!(pool.run_behind(|| panic!("expected by the test")).await.is_err());
            assert_eq!(pool.run_behind(|| 7).await.unwrap(), 7);
        }
    }

    #[tokio::test]
    async fn background_work_is_nice_and_takes_no_slot_of_what_is_awaited() {
        let pool = CpuPool::threads(1);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let behind = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run_behind(move || {
                    held.recv().expect("the test sends");
                    rustix::process::getpriority_process(None)
                })
                .await
            }
        });
        assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        release.send(()).unwrap();
        assert_eq!(behind.await.unwrap().unwrap().unwrap(), BACKGROUND_NICE);
    }
}
