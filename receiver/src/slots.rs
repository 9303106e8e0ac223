//! Which entry has a key: a table with open addressing, eight bytes a slot, that grows in small steps.
//!
//! A slot holds 32 bits of the key, which place it and nearly always tell it from others, and the entry's number. So a
//! lookup costs one cache line here and one of the entry, a growing table reads no entry, and many lookups can be begun
//! before the first is needed ([`Slots::first`]). Keys are keyed hashes: nobody outside can make them collide. A large
//! table lies in huge pages, because its slots are read in no order.
//!
//! The table grows by linear hashing (Litwin, 1980). It is cut into *segments*, each a small table of its own. When two
//! fifths of all slots are used one segment is added, and takes its keys from one other: segment `s` from `s` without
//! its highest bit. In the middle of a doubling, segments that were split already are half as full as those that come
//! next. So an insert moves one segment's keys at most, tens of microseconds under its owner's lock, and one in 104,857
//! needs a new huge page, which is made ahead (`Slots::ahead`). A small table is one segment that doubles.
//!
//! Invariants: a key that was inserted is in the segment that `Slots::segment_of` names, and is found from its home
//! slot there on without an empty slot in between. No segment is full: one that comes next to be split is four fifths
//! full on average, which is 3,277 keys with a deviation of 57.
//!
//! This is a hot file.

use cairn_runtime::memory::{Ahead, AllZeros, HUGE_PAGE_BYTES, Pages};

use crate::identity::NO_ENTRY;

/// Slots of a segment. Judgement: fewer are moved faster, and differ more in how full they are.
const SEGMENT_SLOTS: usize = 4096;
/// Slots of the smallest table.
const MIN_SLOTS: usize = 512;
/// Slots of a page.
pub(crate) const PAGE_SLOTS: usize = HUGE_PAGE_BYTES / size_of::<Slot>();

/// A table of entries by key.
#[derive(Default)]
pub struct Slots {
    slots: Pages<Slot, PAGE_SLOTS>,
    /// Keys of each segment.
    segments: Vec<u16>,
    /// Slots of a segment, a power of two: fewer than [`SEGMENT_SLOTS`] where there is one only.
    segment_slots: usize,
    /// Bits of a key that number the segments when all of this doubling are split.
    mask: usize,
    used: usize,
}

/// One place of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Slot {
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
        let segment = self.segment(self.segment_of(tag))?;
        let mut at = home(tag, segment);
        loop {
            let slot = segment.get(at)?;
            let entry = slot.entry()?;
            if slot.tag == tag && is_it(entry) {
                return Some(entry);
            }
            at = after(at, segment);
        }
    }

    /// The entry that is probably the key's, or [`NO_ENTRY`]: the first whose part of the key agrees. Its key is the
    /// caller's to compare.
    #[inline]
    pub fn first(&self, key: u128) -> u32 {
        self.find(key, |_| true).unwrap_or(NO_ENTRY)
    }

    /// Reads what lookups of these keys read first, so that they wait for memory together and not one after the other.
    pub fn begin(&self, keys: impl Iterator<Item = u128>) {
        let tag_at_home = |key| {
            let tag = tag_of(key);
            let segment = self.segment(self.segment_of(tag));
            segment.and_then(|segment| segment.get(home(tag, segment))).map_or(0, |slot| slot.tag)
        };
        std::hint::black_box(keys.fold(0, |all, key| all ^ tag_at_home(key)));
    }

    /// Adds a key that is not in the table. `entry` is not [`NO_ENTRY`].
    pub fn insert(&mut self, key: u128, entry: u32) {
        // Runs stay short: a key that is there takes three slots on average where the table is fullest.
        if (self.used + 1) * 5 > self.slots.len() * 2 {
            self.grow();
        }
        self.place(Slot { tag: tag_of(key), entry: entry + 1 });
    }

    /// Forgets a key, which has this entry.
    pub fn remove(&mut self, key: u128, entry: u32) {
        let slot = Slot { tag: tag_of(key), entry: entry + 1 };
        let number = self.segment_of(slot.tag);
        let Some(segment) = self.segment_mut(number) else { return };
        let mut gap = home(slot.tag, segment);
        while segment[gap] != slot {
            if segment[gap].entry().is_none() {
                return;
            }
            gap = after(gap, segment);
        }
        // What stands behind moves into the gap, unless that lies before its home.
        let mut at = after(gap, segment);
        while segment[at].entry().is_some() {
            if distance(home(segment[at].tag, segment), at, segment) >= distance(gap, at, segment) {
                segment[gap] = segment[at];
                gap = at;
            }
            at = after(at, segment);
        }
        segment[gap] = Slot::default();
        self.segments[number] -= 1;
        self.used -= 1;
    }

    /// The page that the table needs next, for whoever makes it.
    pub(crate) fn ahead(&mut self) -> &mut Ahead<[Slot; PAGE_SLOTS]> {
        self.slots.ahead()
    }

    /// Makes the table larger by a segment, or doubles it while it is none.
    fn grow(&mut self) {
        let moved = match self.segments.len() {
            0 => self.become_one_segment(MIN_SLOTS),
            1 if self.segment_slots < SEGMENT_SLOTS => self.become_one_segment(self.segment_slots * 2),
            _ => self.split_next_segment(),
        };
        self.used -= moved.len();
        moved.into_iter().for_each(|slot| self.place(slot));
    }

    /// Makes the table another, empty one, and gives what was in it.
    fn become_one_segment(&mut self, len: usize) -> Vec<Slot> {
        let moved = self.take_segment(0);
        self.slots = Pages::default();
        self.slots.grow(len);
        (self.segments, self.segment_slots) = (vec![0], len);
        moved
    }

    /// Adds a segment, and gives what was in the one that was split for it.
    fn split_next_segment(&mut self) -> Vec<Slot> {
        let new = self.segments.len();
        self.slots.grow(SEGMENT_SLOTS);
        self.segments.push(0);
        self.mask = self.segments.len().next_power_of_two() - 1;
        self.take_segment(new ^ (1 << new.ilog2()))
    }

    /// Empties a segment.
    fn take_segment(&mut self, number: usize) -> Vec<Slot> {
        let Some(segment) = self.segment_mut(number) else { return Vec::new() };
        let slots = segment.iter().copied().filter(|slot| slot.entry().is_some()).collect();
        segment.fill(Slot::default());
        self.segments[number] = 0;
        slots
    }

    fn place(&mut self, slot: Slot) {
        let number = self.segment_of(slot.tag);
        self.segments[number] += 1;
        assert!(
            usize::from(self.segments[number]) < self.segment_slots,
            "keys are hashes: no segment is full"
        );
        self.used += 1;
        let segment = self.segment_mut(number).expect("there is a table");
        let mut at = home(slot.tag, segment);
        while segment[at].entry().is_some() {
            at = after(at, segment);
        }
        segment[at] = slot;
    }

    /// The segment in which a key is: told by its low bits, while [`home`] takes high ones.
    #[inline]
    fn segment_of(&self, tag: u32) -> usize {
        let number = tag as usize & self.mask;
        // In the middle of a doubling it is as often the one as the other.
        std::hint::select_unpredictable(number < self.segments.len(), number, number & (self.mask >> 1))
    }

    /// Its slots. A segment with fewer than [`SEGMENT_SLOTS`] is the first.
    #[inline]
    fn segment(&self, number: usize) -> Option<&[Slot]> {
        self.slots.part(number * SEGMENT_SLOTS, self.segment_slots)
    }

    fn segment_mut(&mut self, number: usize) -> Option<&mut [Slot]> {
        self.slots.part_mut(number * SEGMENT_SLOTS, self.segment_slots)
    }
}

#[inline]
fn tag_of(key: u128) -> u32 {
    key as u32
}

/// Where a key is looked for first.
#[inline]
fn home(tag: u32, segment: &[Slot]) -> usize {
    ((u64::from(tag) * segment.len() as u64) >> 32) as usize
}

#[inline]
fn after(at: usize, segment: &[Slot]) -> usize {
    (at + 1) & (segment.len() - 1)
}

/// Steps from one place to another.
fn distance(from: usize, to: usize, segment: &[Slot]) -> usize {
    to.wrapping_sub(from) & (segment.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::Rng;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The table beside a map; entry `i` has the key `stored[i]`.
    #[derive(Default)]
    struct Both {
        slots: Slots,
        model: BTreeMap<u128, u32>,
        stored: Vec<u128>,
    }

    impl Both {
        fn insert(&mut self, key: u128) {
            if !self.model.contains_key(&key) {
                let entry = self.stored.len() as u32;
                self.stored.push(key);
                self.slots.insert(key, entry);
                self.model.insert(key, entry);
            }
        }

        fn remove(&mut self, key: u128) {
            if let Some(entry) = self.model.remove(&key) {
                self.slots.remove(key, entry);
            }
        }

        fn find(&self, key: u128) -> Option<u32> {
            self.slots.find(key, |entry| self.stored[entry as usize] == key)
        }

        /// That every key that ever was is found or not, as in the map.
        fn agree(&self) -> Result<(), TestCaseError> {
            prop_assert_eq!(self.slots.len(), self.model.len());
            let held: usize = self.slots.segments.iter().map(|n| usize::from(*n)).sum();
            prop_assert_eq!(held, self.model.len());
            for key in &self.stored {
                prop_assert_eq!(self.find(*key), self.model.get(key).copied());
                prop_assert!(!self.model.contains_key(key) || self.slots.first(*key) != NO_ENTRY);
            }
            Ok(())
        }
    }

    proptest! {
        /// Few distinct tags, so that keys of one tag and long runs occur, some of them around a segment's end.
        #[test]
        fn it_is_a_map(ops in prop::collection::vec((0u128..40, 0u128..4, any::<bool>()), 0..400)) {
            let mut both = Both::default();
            for (tag, rest, remove) in ops {
                let key = (rest << 64) | (0xFFFF_FFFF - tag * 0x0070_0000);
                if remove { both.remove(key) } else { both.insert(key) }
            }
            both.agree()?;
            prop_assert_eq!(both.find(1 << 100), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Growth stops in the middle of doublings, and keys come, go and are looked for there.
        #[test]
        fn it_is_a_map_while_it_grows(
            seed in any::<u64>(),
            steps in prop::collection::vec((1usize..6000, 1usize..8), 1..6),
        ) {
            let (rng, mut both) = (Rng::from_seed(seed), Both::default());
            for (come, keep) in steps {
                for _ in 0..come {
                    both.insert(u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()));
                    // One that came earlier goes, so that inserts find gaps that were closed.
                    let left = both.stored[rng.below(both.stored.len() as u64) as usize];
                    if rng.below(4) == 0 { both.remove(left) }
                }
                both.agree()?;
                let gone: Vec<u128> = both.model.keys().copied().step_by(keep).collect();
                gone.into_iter().for_each(|key| both.remove(key));
                both.agree()?;
            }
        }
    }

    #[test]
    fn an_insert_moves_the_keys_of_one_segment_at_most() {
        let (rng, mut both) = (Rng::from_seed(1), Both::default());
        let content = |slots: &Slots| -> Vec<Vec<Slot>> {
            let segment =
                |n| slots.slots.part(n * slots.segment_slots, slots.segment_slots).unwrap().to_vec();
            (0..slots.segments.len()).map(segment).collect()
        };
        let (mut splits, mut fullest) = (0, 0);
        while both.slots.segments.len() < 70 {
            let key = u128::from(rng.next_u64());
            if (both.slots.len() + 1) * 5 <= both.slots.slots.len() * 2 {
                both.insert(key);
                fullest = fullest.max(both.slots.segments.iter().copied().max().unwrap());
                continue;
            }
            let before = content(&both.slots);
            both.insert(key);
            let after = content(&both.slots);
            // The split one, the new one, and the one that the key is in.
            let others = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            assert!(after.len() <= before.len() + 1 && others <= 2);
            assert!(after.iter().all(|segment| segment.len() <= SEGMENT_SLOTS));
            splits += usize::from(after.len() == before.len() + 1 && !before.is_empty());
        }
        assert_eq!(splits, 69);
        assert!(usize::from(fullest) < SEGMENT_SLOTS * 7 / 8, "{fullest}");
        both.agree().unwrap();
    }

    #[test]
    fn the_next_page_is_wanted_before_a_segment_needs_it() {
        let (rng, mut slots) = (Rng::from_seed(1), Slots::default());
        let mut wanted = Vec::new();
        for entry in 0..PAGE_SLOTS as u32 {
            slots.insert(u128::from(rng.next_u64()), entry);
            if slots.ahead().claim() {
                wanted.push(slots.segments.len());
            }
        }
        assert_eq!(wanted, [28, 56, 120]);
    }
}
