//! Work of one computation on several cores.
//!
//! [`Crew::share`] cuts a computation into numbered parts. The caller takes part after part, and so do members of the
//! crew that have nothing else to do; the caller never waits for a part that nobody has begun. So a crew that is busy,
//! or a core that the system gives to somebody else, costs the speed-up and nothing more.
//!
//! Invariant: a part runs once, and none is running any more when `share` returns or unwinds.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::crew::{Crew, State};

/// A computation that is shared.
pub(super) struct Work {
    /// Runs a part. It borrows from the caller, see [`Work::take_parts`].
    part: *const (dyn Fn(usize) + Sync),
    parts: usize,
    /// The first part that nobody has begun.
    next: AtomicUsize,
    /// Members at work on it; changes under the board's lock.
    members: AtomicUsize,
    /// The last of them has left.
    done: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: all but `part` is both by itself; what `part` points to is `Sync`, and when it is used is the matter of
// `take_parts`.
unsafe impl Send for Work {}
// SAFETY: as above.
unsafe impl Sync for Work {}

impl Work {
    /// Whether there are parts that nobody has begun.
    pub(super) fn has_parts(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.parts
    }

    /// Helps, as a member of the crew, whose board is not locked meanwhile. The work must be on it.
    pub(super) fn join(&self, state: &mut MutexGuard<'_, State>) {
        self.members.fetch_add(1, Ordering::Relaxed);
        MutexGuard::unlocked(state, || {
            // SAFETY: it was counted in `members` while the work was on the board, and `Crew::run_parts` takes it off
            // and then waits until all that were are done.
            unsafe { self.take_parts() };
        });
        if self.members.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.done.notify_all();
        }
    }

    /// Runs parts until all have begun. Does not unwind.
    ///
    /// # Safety
    /// `part` points to something. [`Crew::run_parts`] sees to that for itself and for members counted in `members`.
    unsafe fn take_parts(&self) {
        // SAFETY: the caller's promise.
        let part = unsafe { &*self.part };
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.parts {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| part(i))) {
                self.panic.lock().get_or_insert(panic);
            }
        }
    }
}

impl Crew {
    /// Runs `part` for every number below `parts` and gives the results in their order.
    ///
    /// # Panics
    /// When a part panicked, with its panic, once the others have run.
    pub(super) fn share<R: Send>(&self, parts: usize, part: impl Fn(usize) -> R + Sync) -> Vec<R> {
        if parts < 2 || self.size() < 2 {
            return (0..parts).map(part).collect();
        }
        let results: Vec<Mutex<Option<R>>> = (0..parts).map(|_| Mutex::new(None)).collect();
        self.run_parts(parts, &|i| {
            let result = part(i);
            *results[i].lock() = Some(result);
        });
        results.into_iter().map(|r| r.into_inner().expect("every part has run")).collect()
    }

    fn run_parts(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) {
        self.start_threads();
        // SAFETY: of the two types only the lifetime differs, and `take_parts` says who may use the pointer.
        let part = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const (dyn Fn(usize) + Sync)>(part)
        };
        let work = Arc::new(Work {
            part,
            parts,
            next: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
            done: Condvar::new(),
            panic: Mutex::new(None),
        });
        {
            let mut state = self.board.state.lock();
            state.shared.push_back(work.clone());
            self.board.call(&mut state, parts.min(self.size()) - 1, |cpu, here| cpu != here);
        }
        // SAFETY: `part` is borrowed until the end of this function.
        unsafe { work.take_parts() };
        // From here on nobody joins, and who has joined is waited for.
        let mut state = self.board.state.lock();
        state.shared.retain(|w| !Arc::ptr_eq(w, &work));
        while work.members.load(Ordering::Relaxed) > 0 {
            work.done.wait(&mut state);
        }
        drop(state);
        let panic = work.panic.lock().take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn parts_run_once_and_results_are_in_their_order() {
        for cores in [1, 2, 4] {
            let crew = Crew::new(cores);
            for parts in [0, 1, 2, 7, 100] {
                let runs: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                let squares = crew.share(parts, |i| {
                    runs[i].fetch_add(1, Ordering::Relaxed);
                    i * i
                });
                assert_eq!(squares, (0..parts).map(|i| i * i).collect::<Vec<_>>());
                assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1));
            }
        }
    }

    #[test]
    fn parts_run_at_the_same_time() {
        let both = Barrier::new(2);
        Crew::new(2).share(2, |_| both.wait());
    }

    #[test]
    fn a_busy_crew_is_not_waited_for() {
        let crew = Crew::new(2);
        let (busy, is_busy) = mpsc::channel();
        struct Slow(mpsc::Sender<()>, mpsc::Receiver<()>);
        impl Drop for Slow {
            fn drop(&mut self) {
                let _ = self.0.send(());
                let _ = self.1.recv();
            }
        }
        // Each holds a member up until its sender is gone.
        let held: Vec<mpsc::Sender<()>> = (0..2)
            .map(|_| {
                let (free, is_freed) = mpsc::channel();
                crew.drop_behind(Slow(busy.clone(), is_freed));
                is_busy.recv().unwrap();
                free
            })
            .collect();
        assert_eq!(crew.share(3, |i| i), [0, 1, 2]);
        drop(held);
    }

    #[test]
    fn a_part_may_share_what_it_does() {
        let crew = Crew::new(3);
        let sums = crew.share(4, |i| crew.share(5, |j| i * j).into_iter().sum::<usize>());
        assert_eq!(sums, [0, 10, 20, 30]);
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_parts_and_the_crew_lives_on() {
        for cores in [2, 4] {
            let crew = Crew::new(cores);
            let runs = AtomicUsize::new(0);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                crew.share(8, |i| {
                    runs.fetch_add(1, Ordering::Relaxed);
                    assert!(i % 2 == 0, "expected by the test");
                });
            }));
            assert!(caught.is_err());
            assert_eq!(runs.load(Ordering::Relaxed), 8);
            let both = Barrier::new(2);
            crew.share(2, |_| both.wait());
        }
    }
}
