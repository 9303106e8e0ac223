//! Whether there is memory for more.
//!
//! A head that outgrows the memory gets its process killed, and the next start grows to the same size. So from its
//! share on the head takes no new *series* (known ones need little: their full chunks go to files), and with the whole
//! process at its limit it takes nothing. Senders are told to repeat, so that nothing is lost until somebody has raised
//! the limit, or series have left with their windows. The log is replayed without bounds: its samples were acknowledged.
//!
//! The head is measured every [`SERIES_BETWEEN`] new series and every [`TIME_BETWEEN`], by the request that notices.
//!
//! Invariant: from a measurement at a bound on, nothing that the bound forbids is taken until another was below it. So
//! what exceeds a bound are at most the series between two measurements and those of requests that had begun.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

/// Series after which the head is measured again: some megabytes.
pub const SERIES_BETWEEN: u64 = 4096;

/// Time after which it is measured again, by the next request.
pub const TIME_BETWEEN: Duration = Duration::from_millis(100);

/// What the process takes now in bytes, where the system says so.
pub type OwnMemory = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// How much memory there is.
#[derive(Clone)]
pub struct MemoryBounds {
    /// Bytes of the head from which on no series is added, 0 = no bound.
    pub head: u64,
    /// Bytes of the process from which on nothing is taken, 0 = no bound.
    pub process: u64,
    /// What the process takes, mapped files left out.
    pub process_now: OwnMemory,
}

impl Default for MemoryBounds {
    fn default() -> Self {
        MemoryBounds { head: 0, process: 0, process_now: Arc::new(|| None) }
    }
}

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Everything.
    Free,
    /// Samples of known series.
    KnownSeries,
    /// Nothing.
    Nothing,
}

impl MemoryBounds {
    /// What there is room for when head and process take this many bytes.
    pub fn judge(&self, head: u64, process: Option<u64>) -> Room {
        let reached = |bound: u64, bytes: u64| bound > 0 && bytes >= bound;
        if process.is_some_and(|bytes| reached(self.process, bytes)) {
            Room::Nothing
        } else if reached(self.head, head) {
            Room::KnownSeries
        } else {
            Room::Free
        }
    }
}

/// The last measurement, and when the next is due.
#[derive(Default)]
pub struct Gauge {
    room: AtomicU8,
    /// Of the head and of the process, bytes; held while they are measured.
    measured: Mutex<(u64, u64)>,
    created: AtomicU64,
    /// Monotonic time of the next measurement, in nanoseconds.
    due_ns: AtomicU64,
}

impl Gauge {
    /// What there is room for.
    #[inline]
    pub fn room(&self) -> Room {
        match self.room.load(Relaxed) {
            0 => Room::Free,
            1 => Room::KnownSeries,
            _ => Room::Nothing,
        }
    }

    /// Bytes of head and process at the last measurement.
    pub fn measured(&self) -> (u64, u64) {
        *self.measured.lock()
    }

    /// Whether it is time to measure; `true` for one caller.
    #[inline]
    pub fn is_due(&self, now: Duration) -> bool {
        let (now, due) = (now.as_nanos() as u64, self.due_ns.load(Relaxed));
        let next = now + TIME_BETWEEN.as_nanos() as u64;
        now >= due && self.due_ns.compare_exchange(due, next, Relaxed, Relaxed).is_ok()
    }

    /// Counts new series. Whether it is time to measure because of them; `true` for one caller.
    pub fn count(&self, created: u64) -> bool {
        if created == 0 {
            return false;
        }
        let before = self.created.fetch_add(created, Relaxed);
        before / SERIES_BETWEEN != (before + created) / SERIES_BETWEEN
    }

    /// Measures, and notes what there is room for.
    pub fn measure(&self, bounds: &MemoryBounds, head: impl FnOnce() -> u64) {
        let mut measured = self.measured.lock();
        let (head, process) = (head(), (bounds.process_now)());
        *measured = (head, process.unwrap_or(0));
        let room = match bounds.judge(head, process) {
            Room::Free => 0,
            Room::KnownSeries => 1,
            Room::Nothing => 2,
        };
        self.room.store(room, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_judged() {
        let bounds = MemoryBounds { head: 100, process: 1000, ..MemoryBounds::default() };
        let cases = [
            ((99, Some(999)), Room::Free),
            ((99, None), Room::Free),
            ((100, Some(999)), Room::KnownSeries),
            ((100, None), Room::KnownSeries),
            ((0, Some(1000)), Room::Nothing),
            ((500, Some(1000)), Room::Nothing),
        ];
        for ((head, process), room) in cases {
            assert_eq!(bounds.judge(head, process), room, "{head} {process:?}");
        }
        assert_eq!(MemoryBounds::default().judge(u64::MAX, Some(u64::MAX)), Room::Free, "0 is no bound");
    }

    #[test]
    fn one_caller_measures_every_so_many_series_and_every_so_often() {
        let gauge = Gauge::default();
        assert!(!gauge.count(0) && !gauge.count(SERIES_BETWEEN - 1));
        assert!(gauge.count(1) && !gauge.count(1));
        assert!(gauge.count(10 * SERIES_BETWEEN), "a large request");
        let at = |ms| Duration::from_millis(ms);
        assert!(gauge.is_due(at(1)) && !gauge.is_due(at(1)) && !gauge.is_due(at(100)));
        assert!(gauge.is_due(at(101)) && !gauge.is_due(at(200)));
    }

    #[test]
    fn room_follows_what_was_measured() {
        let now = Arc::new(AtomicU64::new(7));
        let process = now.clone();
        let process_now: OwnMemory = Arc::new(move || Some(process.load(Relaxed)));
        let bounds = MemoryBounds { head: 100, process: 1000, process_now };
        let gauge = Gauge::default();
        assert_eq!(gauge.room(), Room::Free);
        gauge.measure(&bounds, || 100);
        assert_eq!((gauge.room(), gauge.measured()), (Room::KnownSeries, (100, 7)));
        now.store(1000, Relaxed);
        assert_eq!(gauge.room(), Room::KnownSeries, "until it is measured again");
        gauge.measure(&bounds, || 50);
        assert_eq!((gauge.room(), gauge.measured()), (Room::Nothing, (50, 1000)));
        now.store(999, Relaxed);
        gauge.measure(&bounds, || 50);
        assert_eq!(gauge.room(), Room::Free);
    }
}
