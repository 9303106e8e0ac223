//! Long computations beside the event loop.
//!
//! Anything that computes for more than about half a millisecond runs here, so that sockets keep being served.
//! In a simulation it runs inline, which keeps the order of effects a function of the seed.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A bounded pool of computing threads.
#[derive(Clone)]
pub struct CpuPool {
    slots: Option<Arc<Semaphore>>,
    threads: usize,
}

/// The computation panicked; its message is in the log.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("computation ended by an internal error (see the log)")]
pub struct Panicked;

impl CpuPool {
    /// At most `threads` computations at a time; further ones wait in order.
    pub fn threads(threads: usize) -> Self {
        let threads = threads.max(1);
        CpuPool { slots: Some(Arc::new(Semaphore::new(threads))), threads }
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
        let Some(slots) = &self.slots else {
            return std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|_| Panicked);
        };
        let permit = slots.clone().acquire_owned().await.expect("the pool's semaphore is never closed");
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            f()
        })
        .await
        .map_err(|_| Panicked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_slot() {
        for pool in [CpuPool::threads(1), CpuPool::inline()] {
            assert!(pool.run(|| panic!("expected by the test")).await.is_err());
            assert_eq!(pool.run(|| 7).await.unwrap(), 7);
        }
    }
}
