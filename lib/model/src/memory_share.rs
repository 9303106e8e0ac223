//! Memory that many requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::storage::StoreError;

/// A bound on what all requests hold together.
#[derive(Debug)]
pub struct MemoryShare {
    limit: u64,
    held: AtomicU64,
}

impl MemoryShare {
    /// A share of `limit` bytes.
    pub fn of(limit: u64) -> Arc<Self> {
        Arc::new(MemoryShare { limit, held: AtomicU64::new(0) })
    }

    /// Bytes that are held now.
    pub fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }
}

/// What one request holds of a share; clones of the pointer are the same request. Given back when it is dropped.
#[derive(Debug, Default)]
pub struct Held {
    /// `None`: whatever it holds is nobody's concern.
    share: Option<Arc<MemoryShare>>,
    bytes: AtomicU64,
}

impl Held {
    /// Nothing yet, of `share`.
    pub fn of(share: Option<Arc<MemoryShare>>) -> Arc<Self> {
        Arc::new(Held { share, bytes: AtomicU64::new(0) })
    }

    /// Whether what it holds is counted.
    pub fn is_counted(&self) -> bool {
        self.share.is_some()
    }

    /// Holds `bytes` more.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when requests hold too much together; the bytes are counted until this is dropped.
    pub fn add(&self, bytes: u64) -> Result<(), StoreError> {
        let Some(share) = &self.share else { return Ok(()) };
        self.bytes.fetch_add(bytes, Relaxed);
        let held = share.held.fetch_add(bytes, Relaxed) + bytes;
        if held > share.limit { Err(StoreError::Busy { held, limit: share.limit }) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            share.held.fetch_sub(*self.bytes.get_mut(), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_together_stay_within_the_share() {
        let share = MemoryShare::of(100);
        let (one, other) = (Held::of(Some(share.clone())), Held::of(Some(share.clone())));
        one.add(60).unwrap();
        other.add(40).unwrap();
        assert!(matches!(other.add(1), Err(StoreError::Busy { held: 101, limit: 100 })));
        drop(other);
        assert_eq!(share.held(), 60, "what was refused is given back too");
        one.add(40).unwrap();
        drop(one);
        assert_eq!(share.held(), 0);
        assert!(Held::default().add(u64::MAX).is_ok());
    }
}
