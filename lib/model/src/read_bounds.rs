//! What the answer to one request may hold. Stores are told, so that they stop before they hold too much and not after.
//!
//! Series that several stores know are one in the end, so each store, and within it each block, holds its own part
//! against the bounds; whoever joins the parts does it again.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::memory_share::Held;
use crate::storage::StoreError;

/// Bounds of one request. Zero bounds nothing.
#[derive(Debug, Clone, Default)]
pub struct ReadBounds {
    /// Series.
    pub max_series: u64,
    /// Bytes of labels, names, values and chunks.
    pub max_bytes: u64,
    /// What it holds of the memory that requests share.
    pub held: Arc<Held>,
    /// Set when nobody waits for the answer any more. Polled every few hundred series.
    pub cancel: Cancel,
}

impl ReadBounds {
    /// Judges a part of an answer that has so many series and bytes, to a request for at most `limit` series (0 = all).
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`] with what was counted so far, [`StoreError::Canceled`].
    #[inline]
    pub fn admit(&self, series: usize, bytes: usize, limit: usize) -> Result<(), StoreError> {
        if self.cancel.is_cancelled() {
            return Err(StoreError::Canceled);
        }
        let (series, bytes) = (series as u64, bytes as u64);
        if series > self.max_series && self.max_series > 0 && !self.leaves(limit) {
            return Err(over("series", series, self.max_series));
        }
        if bytes > self.max_bytes && self.max_bytes > 0 {
            return Err(over("bytes", bytes, self.max_bytes));
        }
        Ok(())
    }

    /// Lets through no more than `max_series` (0 = as many as before).
    pub fn tighten_series(&mut self, max_series: u64) {
        if max_series > 0 && (self.max_series == 0 || max_series < self.max_series) {
            self.max_series = max_series;
        }
    }

    /// Whether `limit` keeps an answer within the bounds by itself. One more may be asked for, to know of more.
    fn leaves(&self, limit: usize) -> bool {
        limit > 0 && limit as u64 <= self.max_series.saturating_add(1)
    }
}

fn over(what: &str, needed: u64, limit: u64) -> StoreError {
    StoreError::LimitExceeded { what: what.to_owned(), needed, limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_bounded_unless_a_limit_does_it_and_bytes_in_any_case() {
        let bounds = ReadBounds { max_series: 3, max_bytes: 100, ..ReadBounds::default() };
        let refused = |series, bytes, limit| match bounds.admit(series, bytes, limit) {
            Err(StoreError::LimitExceeded { what, needed, limit }) => Some((what, needed, limit)),
            Err(e) => panic!("{e}"),
            Ok(()) => None,
        };
        for (series, bytes, limit) in [(3, 100, 0), (4, 100, 4), (9, 100, 2), (3, 0, 1000)] {
            assert_eq!(refused(series, bytes, limit), None);
        }
        assert_eq!(refused(4, 0, 0), Some(("series".into(), 4, 3)));
        assert_eq!(refused(6, 0, 5), Some(("series".into(), 6, 3)));
        assert_eq!(refused(1, 101, 1), Some(("bytes".into(), 101, 100)));
        assert!(ReadBounds::default().admit(usize::MAX, usize::MAX, 0).is_ok());
        let mut both = bounds.clone();
        both.tighten_series(0);
        both.tighten_series(5);
        assert_eq!(both.max_series, 3);
        both.tighten_series(2);
        assert_eq!(both.max_series, 2);
        bounds.cancel.cancel();
        assert!(matches!(bounds.admit(0, 0, 0), Err(StoreError::Canceled)));
    }
}
