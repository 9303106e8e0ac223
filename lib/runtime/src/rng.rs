//! Randomness that a seed can repeat.

use std::sync::Arc;

use parking_lot::Mutex;

/// A shared generator. Not for secrets, but seeded from the operating system in production, so its keys are not
/// predictable across processes.
#[derive(Clone)]
pub struct Rng(Arc<Mutex<fastrand::Rng>>);

impl Rng {
    /// Seeded by the operating system.
    pub fn from_entropy() -> Self {
        Rng(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    /// The same seed gives the same numbers.
    pub fn from_seed(seed: u64) -> Self {
        Rng(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// A generator of its own for a part of the program, so that the parts do not disturb one another.
    pub fn fork(&self) -> Self {
        Rng(Arc::new(Mutex::new(self.0.lock().fork())))
    }

    /// Any `u64`.
    pub fn next_u64(&self) -> u64 {
        self.0.lock().u64(..)
    }

    /// Any `u128`.
    pub fn next_u128(&self) -> u128 {
        self.0.lock().u128(..)
    }

    /// `0 .. bound`; `bound` must be above zero.
    pub fn below(&self, bound: u64) -> u64 {
        self.0.lock().u64(..bound)
    }

    /// `[0, 1)`.
    pub fn unit(&self) -> f64 {
        self.0.lock().f64()
    }
}
