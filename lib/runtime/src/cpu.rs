//! Long computations beside the event loop.
//!
//! Anything that computes for more than about half a millisecond runs here, so that sockets keep being served. Work that
//! nobody waits for runs behind all else: on threads of its own, which the system gives the time that is left.
//! In a simulation everything runs inline, which keeps the order of effects a function of the seed.
//!
//! The parts: [`crew`] (the threads of what is awaited), [`share`] (one computation on several of them).

mod crew;
mod share;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

use crew::Crew;

/// Niceness of background threads. Judgement: a tenth of a core when all others are busy, so that locks they hold are
/// given back soon.
const BACKGROUND_NICE: i32 = 10;

/// A bounded pool of computing threads.
#[derive(Clone)]
pub struct CpuPool {
    threads: Option<Threads>,
}

#[derive(Clone)]
struct Threads {
    awaited: Arc<Crew>,
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
        let (awaited, background) = (Arc::new(Crew::new(threads)), Arc::new(Semaphore::new(threads)));
        CpuPool { threads: Some(Threads { awaited, background }) }
    }

    /// Runs everything on the caller's thread.
    pub fn inline() -> Self {
        CpuPool { threads: None }
    }

    /// Whether everything runs on the caller's thread, so that nothing may wait for another thread.
    pub fn is_inline(&self) -> bool {
        self.threads.is_none()
    }

    /// How many computations run at once.
    pub fn parallelism(&self) -> usize {
        self.threads.as_ref().map_or(1, |threads| threads.awaited.size())
    }

    /// Runs `f` and gives its result. `f` runs even if the caller does not wait for it any more.
    ///
    /// # Errors
    /// [`Panicked`] when `f` panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let Some(threads) = &self.threads else { return caught(f) };
        let (done, result) = oneshot::channel();
        let event_loop = Handle::try_current();
        threads.awaited.submit(Box::new(move || {
            // What is computed may start tasks.
            let _entered = event_loop.as_ref().map(Handle::enter);
            let _ = done.send(caught(f)); // whoever waited may have gone
        }));
        result.await.unwrap_or(Err(Panicked))
    }

    /// Runs `part` for every number below `parts`, on all cores that are idle, and gives the results in their order.
    /// For parts of some hundred microseconds: another core takes some ten to begin.
    ///
    /// # Panics
    /// When a part did, once the others have run.
    pub fn share<R: Send>(&self, parts: usize, part: impl Fn(usize) -> R + Sync) -> Vec<R> {
        match &self.threads {
            Some(threads) => threads.awaited.share(parts, part),
            None => (0..parts).map(part).collect(),
        }
    }

    /// Drops `value`, on another core when one is idle: what an answer was made of need not be gone before the answer
    /// goes out.
    pub fn drop_behind<T: Send + 'static>(&self, value: T) {
        if let Some(threads) = &self.threads {
            threads.awaited.drop_behind(value);
        }
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
        let Some(threads) = &self.threads else { return caught(f) };
        let permit = threads.background.clone().acquire_owned().await.expect(NEVER_CLOSED);
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

const NEVER_CLOSED: &str = "the pool's semaphore is never closed";

fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| Panicked)
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
        let behind = pool.run_behind(move || {
            held.recv().expect("the test sends");
            rustix::process::getpriority_process(None)
        });
        let awaited = async {
            assert_eq!(pool.run(|| 7).await.unwrap(), 7);
            release.send(()).unwrap();
        };
        let (nice, ()) = futures::join!(behind, awaited);
        assert_eq!(nice.unwrap().unwrap(), BACKGROUND_NICE);
    }

    #[tokio::test]
    async fn what_is_computed_is_inside_the_event_loop_of_who_asked() {
        let here = Handle::current().id();
        for pool in [CpuPool::threads(1), CpuPool::inline()] {
            assert_eq!(pool.run(|| Handle::current().id()).await.unwrap(), here);
        }
    }

    #[test]
    fn parts_are_in_order_on_the_callers_thread_where_there_is_no_other() {
        let ran = std::sync::Mutex::new(Vec::new());
        CpuPool::inline().share(5, |i| ran.lock().unwrap().push((i, std::thread::current().id())));
        let me = std::thread::current().id();
        assert_eq!(ran.into_inner().unwrap(), (0..5).map(|i| (i, me)).collect::<Vec<_>>());
    }
}
