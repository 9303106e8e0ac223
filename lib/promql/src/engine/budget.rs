//! What an evaluation may use up, and when it must stop.
//!
//! Samples in memory are charged when a matrix or window is built and given back when it is dropped, from any
//! number of threads. Stopping is polled: once every few series, which is far below the 100 ms within which a
//! cancelled query must end.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use cairn_model::Cancel;
use cairn_runtime::Clock;

use super::error::QueryError;

/// The budget of one evaluation; shared by its threads.
pub struct Budget {
    max_samples: i64,
    in_memory: AtomicI64,
    peak: AtomicI64,
    cancels: [Cancel; 2],
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl Budget {
    /// A budget of `max_samples` that ends at `deadline` of the clock's monotonic time, or when either of
    /// `cancels` is cancelled: one is the caller's, the other tells that the caller is gone.
    pub fn new(max_samples: u64, cancels: [Cancel; 2], deadline: Duration, clock: Arc<dyn Clock>) -> Self {
        Budget {
            max_samples: i64::try_from(max_samples).unwrap_or(i64::MAX),
            in_memory: AtomicI64::new(0),
            peak: AtomicI64::new(0),
            cancels,
            deadline,
            clock,
        }
    }

    /// Stops an evaluation that is out of time or cancelled.
    ///
    /// # Errors
    /// [`QueryError::Canceled`] or [`QueryError::Timeout`].
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancels.iter().any(Cancel::is_cancelled) {
            return Err(QueryError::Canceled("expression evaluation"));
        }
        if self.clock.monotonic() >= self.deadline {
            return Err(QueryError::Timeout("expression evaluation"));
        }
        Ok(())
    }

    /// Notes samples that are about to be held.
    ///
    /// # Errors
    /// [`QueryError::TooManySamples`] when they do not fit.
    pub fn hold(self: &Arc<Self>, samples: usize) -> Result<Charge, QueryError> {
        let mut charge = Charge { budget: Some(self.clone()), samples: 0 };
        charge.grow(samples)?;
        Ok(charge)
    }

    /// Whether a window of `samples` fits; windows are short-lived, so they are not held.
    ///
    /// # Errors
    /// [`QueryError::TooManySamples`] when it does not.
    #[inline]
    pub fn fits(&self, samples: usize) -> Result<(), QueryError> {
        if samples as u64 > self.max_samples as u64 { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// Whether `samples` more can be held now.
    pub fn has_room(&self, samples: usize) -> bool {
        let free = self.max_samples.saturating_sub(self.in_memory.load(Ordering::Relaxed));
        i64::try_from(samples).is_ok_and(|samples| samples <= free)
    }

    /// The most samples held at a time.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed).max(0) as u64
    }
}

/// Samples that are held; given back when dropped.
#[derive(Default)]
pub struct Charge {
    budget: Option<Arc<Budget>>,
    samples: i64,
}

impl Charge {
    /// Adds `samples`.
    ///
    /// # Errors
    /// [`QueryError::TooManySamples`] when they do not fit.
    pub fn grow(&mut self, samples: usize) -> Result<(), QueryError> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let samples = i64::try_from(samples).unwrap_or(i64::MAX / 4);
        self.samples += samples;
        let now = budget.in_memory.fetch_add(samples, Ordering::Relaxed) + samples;
        budget.peak.fetch_max(now, Ordering::Relaxed);
        if now > budget.max_samples { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// Takes over what `other` holds.
    pub fn absorb(&mut self, mut other: Charge) {
        if self.budget.is_none() {
            self.budget = other.budget.take();
        }
        self.samples += std::mem::take(&mut other.samples);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.in_memory.fetch_sub(self.samples, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for Charge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Charge({})", self.samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::ManualClock;

    fn budget(max: u64, cancel: Cancel) -> (Arc<Budget>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::starting_at(0));
        (Arc::new(Budget::new(max, [Cancel::new(), cancel], Duration::from_secs(1), clock.clone())), clock)
    }

    #[test]
    fn what_is_dropped_can_be_held_again() {
        let (b, _) = budget(10, Cancel::new());
        let mut first = b.hold(6).unwrap();
        assert!(matches!(b.hold(5), Err(QueryError::TooManySamples)));
        first.absorb(b.hold(4).unwrap());
        drop(first);
        b.hold(10).unwrap();
        assert_eq!(b.peak(), 11);
    }

    #[test]
    fn cancelled_and_late_evaluations_stop() {
        let cancel = Cancel::new();
        let (b, clock) = budget(10, cancel.clone());
        b.check().unwrap();
        clock.advance(Duration::from_secs(2));
        assert!(matches!(b.check(), Err(QueryError::Timeout(_))));
        cancel.cancel();
        assert!(matches!(b.check(), Err(QueryError::Canceled(_))));
    }
}
