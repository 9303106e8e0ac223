//! The budget of bytes for requests in hand: asked before anything is allocated, given back when the answer is
//! made.
//!
//! A request asks for its declared size, then for its decompressed size, and for more when its batch outgrows
//! that. Who gets nothing is answered 503 and has cost nothing.
//!
//! Invariant: the permits that are out never add up to more than the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_runtime::Metrics;
use prometheus::{IntCounter, IntGauge};

/// A budget; clones share it.
#[derive(Clone)]
pub struct ByteBudget {
    shared: Arc<Shared>,
}

struct Shared {
    limit: u64,
    used: AtomicU64,
    used_gauge: IntGauge,
    refused: IntCounter,
}

/// Bytes taken from a budget, given back when dropped.
pub struct Permit {
    budget: ByteBudget,
    bytes: u64,
}

/// The budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot take in more requests now: {used} of {limit} bytes for requests in hand are used and {wanted} are needed"
)]
pub struct Overloaded {
    /// Bytes asked for.
    pub wanted: u64,
    /// Bytes in use.
    pub used: u64,
    /// The budget.
    pub limit: u64,
}

impl ByteBudget {
    /// A budget of `limit` bytes with its metrics; once a process.
    pub fn new(limit: u64, metrics: &Metrics) -> Self {
        metrics
            .gauge("cairn_receive_admission_limit_bytes", "Budget for write requests in hand.")
            .set(i64::try_from(limit).unwrap_or(i64::MAX));
        let used_gauge =
            metrics.gauge("cairn_receive_admission_used_bytes", "Bytes taken by write requests in hand.");
        let refused = metrics.counter(
            "cairn_receive_admission_refused_total",
            "Write requests refused because the budget for requests in hand was used up.",
        );
        ByteBudget { shared: Arc::new(Shared { limit, used: AtomicU64::new(0), used_gauge, refused }) }
    }

    /// Bytes that are taken.
    pub fn used(&self) -> u64 {
        self.shared.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// [`Overloaded`] when so much is not free.
    pub fn take(&self, bytes: u64) -> Result<Permit, Overloaded> {
        self.charge(bytes)?;
        Ok(Permit { budget: self.clone(), bytes })
    }

    fn charge(&self, bytes: u64) -> Result<(), Overloaded> {
        let s = &*self.shared;
        let charged = s.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= s.limit)
        });
        match charged {
            Ok(before) => {
                s.used_gauge.set((before + bytes) as i64);
                Ok(())
            }
            Err(used) => {
                s.refused.inc();
                Err(Overloaded { wanted: bytes, used, limit: s.limit })
            }
        }
    }
}

impl Permit {
    /// Takes more, so that `bytes` are held in all; holding more already changes nothing.
    ///
    /// # Errors
    /// [`Overloaded`] when so much is not free; what was held is still held.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), Overloaded> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.budget.charge(more)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let s = &*self.budget.shared;
        let before = s.used.fetch_sub(self.bytes, Ordering::Relaxed);
        s.used_gauge.set((before - self.bytes) as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back() {
        let budget = ByteBudget::new(100, &Metrics::new());
        let mut a = budget.take(60).unwrap();
        assert_eq!(budget.take(41).err(), Some(Overloaded { wanted: 41, used: 60, limit: 100 }));
        let b = budget.take(40).unwrap();
        assert!(a.grow_to(61).is_err());
        drop(b);
        a.grow_to(100).unwrap();
        a.grow_to(5).unwrap();
        assert_eq!((a.bytes(), budget.used()), (100, 100));
        drop(a);
        assert_eq!(budget.used(), 0);
        assert!(budget.take(u64::MAX).is_err());
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // threads of the test's own
    fn many_at_once_never_exceed_the_budget() {
        let budget = ByteBudget::new(1000, &Metrics::new());
        let most = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, most) = (&budget, &most);
                scope.spawn(move || {
                    for i in 0..10_000u64 {
                        let Ok(mut permit) = budget.take((thread * 31 + i * 17) % 400) else { continue };
                        let _ = permit.grow_to((i * 7) % 600);
                        most.fetch_max(budget.used(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 1000);
        assert_eq!(budget.used(), 0);
    }
}
