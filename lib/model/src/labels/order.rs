//! How label sets compare. This is a hot file: merges of many series live on it, and it does not allocate.

use std::cmp::Ordering;

use super::borrowed::Iter;
use super::{Labels, LabelsRef};

impl LabelsRef<'_> {
    /// Bytes of labels at the front that both sets have; there may be a few more.
    fn shared_labels(self, other: Self) -> usize {
        const STRETCH: usize = 16;
        let stretches = self.0.as_chunks::<STRETCH>().0.iter().zip(other.0.as_chunks::<STRETCH>().0);
        let same = stretches.take_while(|(a, b)| a == b).count() * STRETCH;
        let mut labels = self.iter();
        let mut shared = 0;
        while labels.next().is_some() && self.0.len() - labels.rest().len() <= same {
            shared = self.0.len() - labels.rest().len();
        }
        shared
    }
}

/// Prometheus' order: label by label, name before value, bytewise; a prefix sorts first.
impl Ord for LabelsRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Series that are compared mostly share their first labels: those are skipped as bytes.
        let shared = self.shared_labels(*other);
        let (mut a, mut b) = (Iter { rest: &self.0[shared..] }, Iter { rest: &other.0[shared..] });
        loop {
            match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some(x), Some(y)) => match x.cmp(&y) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
    }
}

impl PartialOrd for LabelsRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
