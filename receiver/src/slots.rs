//! Which entry has a key: a table with open addressing, eight bytes a slot.
//!
//! A slot holds 32 bits of the key, which place it and nearly always tell it from others, and the entry's number. So a
//! lookup costs one cache line here and one of the entry, a growing table reads no entry, and many lookups can be begun
//! before the first is needed ([`Slots::first`]). Keys are keyed hashes: nobody outside can make them collide. A large
//! table lies in huge pages, because its slots are read in no order.
//!
//! Invariant: a key that was inserted is found from its home slot on without an empty slot in between.
//!
//! This is a hot file.

use cairn_runtime::memory::{AllZeros, Zeros};

use crate::identity::NO_ENTRY;

/// Slots of the smallest table.
const MIN_SLOTS: usize = 64;

/// A table of entries by key.
#[derive(Default)]
pub struct Slots {
    /// A power of two, or none.
    slots: Zeros<Slot>,
    used: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    tag: u32,
    /// The entry's number and one; 0 when empty.
    entry: u32,
}

// SAFETY: numbers.
unsafe impl AllZeros for Slot {}

impl Slot {
    #[inline]
    fn entry(self) -> Option<u32> {
        self.entry.checked_sub(1)
    }
}

impl Slots {
    /// Keys in the table.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The entry of a key for which `is_it` holds.
    #[inline]
    pub fn find(&self, key: u128, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag_of(key);
        let mut at = self.home(tag);
        loop {
            let slot = self.slots.get(at)?;
            let entry = slot.entry()?;
            if slot.tag == tag && is_it(entry) {
                return Some(entry);
            }
            at = self.after(at);
        }
    }

    /// The entry that is probably the key's, or [`NO_ENTRY`]: the first whose part of the key agrees. Its key is the
    /// caller's to compare.
    #[inline]
    pub fn first(&self, key: u128) -> u32 {
        self.find(key, |_| true).unwrap_or(NO_ENTRY)
    }

    /// Adds a key that is not in the table. `entry` is not [`NO_ENTRY`].
    pub fn insert(&mut self, key: u128, entry: u32) {
        // At most half full, so that runs stay short: 1.5 slots are read on average.
        if (self.used + 1) * 2 > self.slots.len() {
            let bigger = (self.slots.len() * 2).max(MIN_SLOTS);
            self.rebuild(bigger, |_| true);
        }
        self.place(Slot { tag: tag_of(key), entry: entry + 1 });
    }

    /// Forgets the entries that `keep` refuses.
    pub fn retain(&mut self, keep: impl FnMut(u32) -> bool) {
        self.rebuild(self.slots.len(), keep);
    }

    fn rebuild(&mut self, len: usize, mut keep: impl FnMut(u32) -> bool) {
        let old = std::mem::replace(&mut self.slots, Zeros::new(len));
        self.used = 0;
        old.iter().filter(|s| s.entry().is_some_and(&mut keep)).for_each(|s| self.place(*s));
    }

    fn place(&mut self, slot: Slot) {
        let mut at = self.home(slot.tag);
        while self.slots[at].entry().is_some() {
            at = self.after(at);
        }
        self.slots[at] = slot;
        self.used += 1;
    }

    #[inline]
    fn home(&self, tag: u32) -> usize {
        ((u64::from(tag) * self.slots.len() as u64) >> 32) as usize
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[inline]
fn tag_of(key: u128) -> u32 {
    key as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Few distinct tags, so that keys of one tag and long runs occur.
        #[test]
        fn it_is_a_map(keys in prop::collection::vec((0u128..40, 0u128..3), 0..300), forget in 1u32..5) {
            let (mut slots, mut model, mut stored) = (Slots::default(), BTreeMap::new(), Vec::new());
            for (tag, rest) in keys {
                let key = (rest << 64) | (tag * 0x0700_0000);
                if model.contains_key(&key) {
                    continue;
                }
                let entry = stored.len() as u32;
                stored.push(key);
                slots.insert(key, entry);
                model.insert(key, entry);
            }
            let find = |slots: &Slots, key: u128| slots.find(key, |entry| stored[entry as usize] == key);
            for (key, entry) in &model {
                prop_assert_eq!(find(&slots, *key), Some(*entry));
                prop_assert_ne!(slots.first(*key), NO_ENTRY);
            }
            slots.retain(|entry| entry % forget != 0);
            for (key, entry) in &model {
                prop_assert_eq!(find(&slots, *key), (entry % forget != 0).then_some(*entry));
            }
            prop_assert_eq!(slots.len(), model.values().filter(|e| *e % forget != 0).count());
            prop_assert_eq!(find(&slots, 1 << 100), None);
        }
    }
}
