//! Postings: the series that have a label, as a rising list of slots.
//!
//! Slots of a partition rise and are never reused, so a list only grows at its end: it is a string of varint
//! deltas, about one byte an entry, and nothing is ever inserted in its middle.
//!
//! Invariant: slots are strictly rising.

use std::cmp::Ordering;

/// A rising list of slots.
#[derive(Debug, Clone, Default)]
pub struct Postings {
    deltas: Vec<u8>,
    last: u32,
    len: u32,
}

impl Postings {
    /// Adds a slot greater than all before.
    pub fn push(&mut self, slot: u32) {
        debug_assert!(self.len == 0 || slot > self.last, "slots rise");
        let mut delta = slot - self.last;
        while delta >= 0x80 {
            self.deltas.push(delta as u8 | 0x80);
            delta >>= 7;
        }
        self.deltas.push(delta as u8);
        self.last = slot;
        self.len += 1;
    }

    /// How many slots.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slots, rising.
    pub fn iter(&self) -> Iter<'_> {
        Iter { deltas: &self.deltas, slot: 0 }
    }

    /// Keeps only what `keep` accepts, and gives back memory.
    pub fn retain(&mut self, mut keep: impl FnMut(u32) -> bool) {
        let mut kept = Postings::default();
        self.iter().filter(|slot| keep(*slot)).for_each(|slot| kept.push(slot));
        kept.deltas.shrink_to_fit();
        *self = kept;
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.deltas.capacity()
    }
}

/// Iterator over slots.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    deltas: &'a [u8],
    slot: u32,
}

impl Iterator for Iter<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        let (&first, mut rest) = self.deltas.split_first()?;
        let mut delta = u32::from(first & 0x7F);
        let (mut byte, mut shift) = (first, 7);
        while byte >= 0x80 {
            let (&next, after) = rest.split_first()?;
            delta |= u32::from(next & 0x7F) << shift;
            (byte, rest, shift) = (next, after, shift + 7);
        }
        self.deltas = rest;
        self.slot += delta;
        Some(self.slot)
    }
}

/// The slots in both rising lists.
pub fn intersect(a: &mut Vec<u32>, b: impl Iterator<Item = u32>) {
    let mut b = b.peekable();
    a.retain(|slot| {
        while b.next_if(|other| other < slot).is_some() {}
        b.peek() == Some(slot)
    });
}

/// The slots of `a` that are not in the rising list `b`.
pub fn subtract(a: &mut Vec<u32>, b: impl Iterator<Item = u32>) {
    let mut b = b.peekable();
    a.retain(|slot| {
        while b.next_if(|other| other < slot).is_some() {}
        b.peek() != Some(slot)
    });
}

/// The slots in any of the lists, rising.
pub fn union<'a>(lists: impl Iterator<Item = &'a Postings>) -> Vec<u32> {
    let mut all: Vec<u32> = Vec::new();
    let mut several = false;
    for list in lists {
        several |= !all.is_empty();
        all.extend(list.iter());
    }
    if several {
        all.sort_unstable(); // finds the rising runs and merges them
        all.dedup();
    }
    debug_assert!(all.windows(2).all(|w| w[0].cmp(&w[1]) == Ordering::Less));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn postings(set: &BTreeSet<u32>) -> Postings {
        let mut p = Postings::default();
        set.iter().for_each(|s| p.push(*s));
        p
    }

    proptest! {
        #[test]
        fn lists_behave_as_sets(
            a in prop::collection::btree_set(prop_oneof![0u32..300, any::<u32>()], 0..80),
            b in prop::collection::btree_set(prop_oneof![0u32..300, any::<u32>()], 0..80),
        ) {
            let (pa, mut pb) = (postings(&a), postings(&b));
            prop_assert_eq!(pa.len(), a.len());
            let all: Vec<u32> = pa.iter().collect();
            prop_assert_eq!(&all, &a.iter().copied().collect::<Vec<_>>());
            let mut both = all.clone();
            intersect(&mut both, pb.iter());
            prop_assert_eq!(both, a.intersection(&b).copied().collect::<Vec<_>>());
            let mut only = all.clone();
            subtract(&mut only, pb.iter());
            prop_assert_eq!(only, a.difference(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(union([&pa, &pb].into_iter()), a.union(&b).copied().collect::<Vec<_>>());
            pb.retain(|s| s % 2 == 0);
            prop_assert_eq!(pb.iter().collect::<Vec<_>>(), b.into_iter().filter(|s| s % 2 == 0).collect::<Vec<_>>());
        }
    }
}
