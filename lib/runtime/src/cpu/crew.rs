//! The threads that compute: one a core, each bound to its own.
//!
//! Left to the system, a thread that is woken for a millisecond of work mostly waits for its waker's core while another
//! one is idle, and is moved when the work is nearly done. So a job goes to the member of the core that it comes from,
//! which is about to be free and has its data, and when that one is busy to an idle one. Work that is shared
//! ([`super::share`]) is offered to members of other cores.
//!
//! Threads start when there is a first job, and end when the crew is dropped and they have nothing left to do. A job
//! starts no threads: they would be bound to its core.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use parking_lot::{Condvar, Mutex};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

use super::share::Work;

/// Values that wait to be dropped; whoever brings more drops them himself. Judgement: a few answers' worth.
const MAX_LEFT: usize = 16;

/// A job.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The threads.
pub(super) struct Crew {
    pub(super) board: Arc<Board>,
    start: Once,
}

/// What there is to do, and who does it.
pub(super) struct Board {
    pub(super) state: Mutex<State>,
    members: Vec<Member>,
}

struct Member {
    /// The core that it is bound to.
    cpu: Option<usize>,
    /// There is something for it to do.
    called: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    /// Computations that want help.
    pub(super) shared: VecDeque<Arc<Work>>,
    jobs: VecDeque<Job>,
    /// What is to be dropped.
    left: Vec<Box<dyn Any + Send>>,
    /// Members that wait to be called, the one that was busy last at the end: its caches are warm.
    idle: Vec<usize>,
    /// Members whose thread has started.
    started: usize,
    closed: bool,
}

impl Crew {
    /// A crew for `cores` cores.
    pub(super) fn new(cores: usize) -> Self {
        let cpus = cpus(cores);
        let members = (0..cores).map(|i| Member { cpu: cpus.get(i).copied(), called: Condvar::new() });
        let board = Board { state: Mutex::default(), members: members.collect() };
        Crew { board: Arc::new(board), start: Once::new() }
    }

    /// How many members it has.
    pub(super) fn size(&self) -> usize {
        self.board.members.len()
    }

    /// Has a member do `job`, which catches its panics. Jobs begin in the order in which they come.
    pub(super) fn submit(&self, job: Job) {
        self.start_threads();
        let mut state = self.board.state.lock();
        if state.started == 0 {
            drop(state);
            return job(); // the system has no thread left: better slow than not at all
        }
        state.jobs.push_back(job);
        self.board.call(&mut state, 1, |cpu, here| cpu == here);
    }

    /// Drops `value` when a member has time for it.
    pub(super) fn drop_behind<T: Send + 'static>(&self, value: T) {
        self.start_threads();
        let mut state = self.board.state.lock();
        if state.started > 0 && state.left.len() < MAX_LEFT {
            state.left.push(Box::new(value));
            self.board.call(&mut state, 1, |cpu, here| cpu != here);
        } else {
            drop(state);
            drop(value);
        }
    }

    #[allow(clippy::disallowed_methods)] // this crate is where threads are started
    pub(super) fn start_threads(&self) {
        self.start.call_once(|| {
            for i in 0..self.size() {
                let board = self.board.clone();
                let thread = std::thread::Builder::new().name(format!("cpu-{i}"));
                match thread.spawn(move || board.serve(i)) {
                    Ok(_) => self.board.state.lock().started += 1,
                    Err(e) => {
                        tracing::warn!(error = %e, "cannot start a computing thread: fewer cores compute")
                    }
                }
            }
        });
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.board.state.lock().closed = true;
        self.board.members.iter().for_each(|m| {
            m.called.notify_one();
        });
    }
}

impl Board {
    /// Calls up to `count` idle members, first those for whose core and the caller's `is_better` holds.
    pub(super) fn call(&self, state: &mut State, count: usize, is_better: fn(usize, usize) -> bool) {
        let here = sched_getcpu();
        for _ in 0..count {
            let better = |i: &usize| self.members[*i].cpu.is_some_and(|cpu| is_better(cpu, here));
            let Some(at) = state.idle.iter().rposition(better).or(state.idle.len().checked_sub(1)) else {
                return; // whoever is busy looks for more when he is done
            };
            let member = state.idle.remove(at);
            self.members[member].called.notify_one();
        }
    }

    /// The life of member `me`.
    fn serve(&self, me: usize) {
        if let Some(cpu) = self.members[me].cpu {
            let mut only = CpuSet::new();
            only.set(cpu);
            // Where it is not allowed the thread runs where the system wants it to.
            let _ = sched_setaffinity(None, &only);
        }
        let mut state = self.state.lock();
        loop {
            // Somebody waits for shared work already, and it is short.
            if let Some(work) = state.shared.iter().find(|w| w.has_parts()).cloned() {
                work.join(&mut state);
            } else if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state.lock();
            } else if let Some(value) = state.left.pop() {
                drop(state);
                // A value that panics as it goes must not take the thread with it.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
                state = self.state.lock();
            } else if state.closed {
                return;
            } else {
                state.idle.push(me);
                self.members[me].called.wait(&mut state);
                state.idle.retain(|i| *i != me);
            }
        }
    }
}

/// The cores of this process when it has `count` of them; none when members cannot be bound to one each.
fn cpus(count: usize) -> Vec<usize> {
    let Ok(allowed) = sched_getaffinity(None) else { return Vec::new() };
    if allowed.count() as usize != count {
        return Vec::new();
    }
    (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn jobs_begin_in_their_order_and_all_of_them_run() {
        for cores in [1, 3] {
            let crew = Crew::new(cores);
            let (done, seen) = mpsc::channel();
            for i in 0..100 {
                let done = done.clone();
                crew.submit(Box::new(move || done.send(i).unwrap()));
            }
            let mut ran: Vec<usize> = (0..100).map(|_| seen.recv().unwrap()).collect();
            if cores > 1 {
                ran.sort_unstable();
            }
            assert_eq!(ran, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_crew_that_is_gone_has_done_its_jobs() {
        let (done, seen) = mpsc::channel();
        let crew = Crew::new(2);
        for i in 0..10 {
            let done = done.clone();
            crew.submit(Box::new(move || done.send(i).unwrap()));
        }
        drop((crew, done));
        assert_eq!(seen.iter().count(), 10);
    }

    #[test]
    fn what_is_dropped_behind_is_dropped_once() {
        for cores in [1, 2] {
            let crew = Crew::new(cores);
            let (dropped, seen) = mpsc::channel();
            struct Tells(mpsc::Sender<usize>, usize);
            impl Drop for Tells {
                fn drop(&mut self) {
                    let _ = self.0.send(self.1);
                }
            }
            (0..100).for_each(|i| crew.drop_behind(Tells(dropped.clone(), i)));
            let mut gone: Vec<usize> = (0..100).map(|_| seen.recv().unwrap()).collect();
            gone.sort_unstable();
            assert_eq!(gone, (0..100).collect::<Vec<_>>());
        }
    }
}
