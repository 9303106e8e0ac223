//! Long computations, and waits for the disk, beside the event loop.
//!
//! Anything that computes for more than about half a millisecond runs here, so that sockets keep being served, each kind
//! of work where it is in nobody's way:
//!
//! - [`CpuPool::run`] and [`CpuPool::share`]: what a request waits for and computes, on one thread a core;
//! - [`CpuPool::run_blocking`]: what waits for the disk or for memory, on threads of its own, so that no core stands idle
//!   meanwhile;
//! - [`CpuPool::run_behind`]: long work that no request waits for, on threads of its own, which the system gives the time
//!   that is left.
//!
//! In a simulation everything runs inline, which keeps the order of effects a function of the seed.
//!
//! The parts: [`crew`] (the threads that compute), [`share`] (one computation on several of them), [`own_threads`].

mod crew;
mod own_threads;
mod share;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crew::Crew;
use own_threads::OwnThreads;

/// Niceness of background threads. Judgement: a tenth of a core when all others are busy, so that locks they hold are
/// given back soon.
const BACKGROUND_NICE: i32 = 10;

/// Jobs that wait for the disk at a time. Judgement: each file that is written now and then (Raft's journal, the rules'
/// progress, an outbox for each Alertmanager) and some indexes that come in; a disk does not get faster by more.
const BLOCKING_PLACES: u32 = 8;

/// A bounded pool of computing threads, and places for jobs on threads of their own.
#[derive(Clone)]
pub struct CpuPool {
    threads: Option<Threads>,
}

#[derive(Clone)]
struct Threads {
    awaited: Arc<Crew>,
    blocking: Arc<OwnThreads>,
    background: Arc<OwnThreads>,
}

/// The computation panicked; its message is in the log.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("computation ended by an internal error (see the log)")]
pub struct Panicked;

impl CpuPool {
    /// At most `threads` computations at a time, and as many in the background; further ones wait in order.
    pub fn threads(threads: usize) -> Self {
        let threads = threads.max(1);
        let places = u32::try_from(threads).unwrap_or(u32::MAX);
        let threads = Threads {
            awaited: Arc::new(Crew::new(threads)),
            blocking: Arc::new(OwnThreads::new("blocking", 0, BLOCKING_PLACES)),
            background: Arc::new(OwnThreads::new("background", BACKGROUND_NICE, places)),
        };
        CpuPool { threads: Some(threads) }
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

    /// Runs `f`, which waits for the system (a disk, memory) and computes next to nothing, on a thread of its own, and
    /// gives its result.
    /// It does not yield to others and waits for no background work: what is acknowledged may depend on it.
    ///
    /// # Errors
    /// [`Panicked`] when `f` panicked, or no thread could be started.
    pub async fn run_blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        match &self.threads {
            Some(threads) => threads.blocking.run(f).await,
            None => caught(f),
        }
    }

    /// Runs `f`, which no request waits for, on a thread that yields to all others, and gives its result. It may have to
    /// wait for the end of other background work, which takes minutes.
    ///
    /// # Errors
    /// [`Panicked`] when `f` panicked, or no thread could be started.
    pub async fn run_behind<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        match &self.threads {
            Some(threads) => threads.background.run(f).await,
            None => caught(f),
        }
    }

    /// Waits until nothing runs on threads of their own, `patience` at most, and gives how many jobs still do. For a
    /// stop: such a job outlives the task that asked for it, and the end of the process would cut it off in a file.
    pub async fn idle_behind(&self, clock: &dyn Clock, patience: Duration) -> usize {
        let Some(Threads { blocking, background, .. }) = &self.threads else { return 0 };
        tokio::select! {
            _ = join(blocking.idle(), background.idle()) => return 0,
            () = clock.sleep(patience) => {}
        }
        blocking.running() + background.running()
    }
}

fn caught<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_slot() {
        for pool in [CpuPool::threads(1), CpuPool::inline()] {
            assert!(pool.run(|| panic!("expected by the test")).await.is_err());
            assert_eq!(pool.run(|| 7).await.unwrap(), 7);
            assert!(pool.run_blocking(|| panic!("expected by the test")).await.is_err());
            assert_eq!(pool.run_blocking(|| 7).await.unwrap(), 7);
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

    /// Has a job in hand until the sender is gone, and nobody to wait for it.
    async fn abandoned_job(pool: &CpuPool) -> std::sync::mpsc::Sender<()> {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let job = pool.run_behind(move || {
            let _ = held.recv();
        });
        assert!(futures::poll!(Box::pin(job)).is_pending());
        release
    }

    #[tokio::test]
    async fn waiting_for_the_disk_takes_no_place_of_a_computation_or_of_background_work() {
        let pool = CpuPool::threads(1);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let _busy = abandoned_job(&pool).await;
        let waiting = pool.run_blocking(move || {
            held.recv().expect("the test sends");
            rustix::process::getpriority_process(None)
        });
        let awaited = async {
            assert_eq!(pool.run(|| 7).await.unwrap(), 7);
            release.send(()).unwrap();
        };
        let (nice, ()) = futures::join!(waiting, awaited);
        assert_eq!(nice.unwrap().unwrap(), rustix::process::getpriority_process(None).unwrap());
    }

    #[tokio::test]
    async fn a_stop_waits_for_a_job_that_nobody_waits_for_any_more() {
        let (pool, clock) = (CpuPool::threads(1), ManualClock::starting_at(0));
        let release = abandoned_job(&pool).await;
        let mut idle = Box::pin(pool.idle_behind(&clock, Duration::from_secs(5)));
        assert!(futures::poll!(&mut idle).is_pending());
        drop(release);
        assert_eq!(idle.await, 0);
    }

    #[tokio::test]
    async fn a_stop_gives_up_after_its_patience_and_says_what_still_runs() {
        let (pool, clock) = (CpuPool::threads(2), ManualClock::starting_at(0));
        let _held = [abandoned_job(&pool).await, abandoned_job(&pool).await];
        let mut idle = Box::pin(pool.idle_behind(&clock, Duration::from_secs(5)));
        assert!(futures::poll!(&mut idle).is_pending());
        clock.advance(Duration::from_secs(5));
        assert_eq!(idle.await, 2);
        assert_eq!(CpuPool::inline().idle_behind(&clock, Duration::from_secs(5)).await, 0);
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
