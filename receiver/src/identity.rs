//! Which series a run of label bytes is, without reading the labels.
//!
//! A *wire key* is a 128-bit keyed hash of the label bytes as they came. Each known wire key has an entry with
//! the series' hash, the store's reference, and which entry followed it last time. Senders keep their order, so
//! the next series is *predicted*: one entry is read, which lies beside the last one, and its key compared. Only
//! when that fails is the table asked, and only when that fails are labels read.
//!
//! The prediction belongs to the series, not to a connection or a place in a request: it survives requests cut
//! elsewhere, connections used in turn, and one series more or less in between. ADR 0007 says why keys and not
//! bytes are kept.
//!
//! Invariant: an entry is believed only when its whole key is equal, so a prediction can be wrong but never
//! harmful. The store checks the reference.
//!
//! Everyone waits for the write lock, so under it work is bounded by what a request brings: the table and the list of
//! entries grow in steps, into memory that was made ahead ([`Identity::bring_memory`]), and entries that nobody sends are
//! looked for a few at a time (`SWEPT_FOR_NEW`).
//!
//! This is a hot file: recalling a series takes no lock of its own (one read lock a request) and allocates
//! nothing.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use cairn_proto::v1;
use cairn_runtime::memory::{AllZeros, HUGE_PAGE_BYTES, Huge, Pages};
use parking_lot::{RwLock, RwLockReadGuard};

use crate::slots::Slots;
use crate::wire_keys::WireKeys;

/// Stands for no entry.
pub const NO_ENTRY: u32 = u32::MAX;

/// Entries of a huge page.
const PAGE_ENTRIES: usize = HUGE_PAGE_BYTES / size_of::<Entry>();

/// Length of a stamp of [`Identity::stamp`], in seconds. Coarse, because writing one dirties a cache line.
const STAMP_S: u64 = 600;
/// Stamps after which an entry that nobody sent is dropped: two hours, like a head's series.
const IDLE_STAMPS: u32 = 12;
/// Stamps between the beginnings of two sweeps.
const SWEEP_STAMPS: u32 = 3;
/// Entries that a sweep looks at for each new one. So a sweep is over when an eighth as many series came as there are, and
/// an eighth more than were sent lately are kept at most. Judgement: a new series costs ten times as much.
const SWEPT_FOR_NEW: usize = 8;
/// When a vacant entry was seen: it never becomes idle.
const VACANT: u32 = u32::MAX;

/// What one tenant's senders have sent.
pub struct Identity {
    table: RwLock<Table>,
    max_entries: usize,
}

struct Table {
    index: Slots,
    /// All entries ever used.
    entries: Pages<Entry, PAGE_ENTRIES>,
    /// The vacant entry that is used next; its hash names the one behind it.
    vacant: u32,
    sweep: Sweep,
}

impl Default for Table {
    fn default() -> Self {
        Table {
            index: Slots::default(),
            entries: Pages::default(),
            vacant: NO_ENTRY,
            sweep: Sweep::default(),
        }
    }
}

/// A walk over the entries that were there when it began.
#[derive(Default)]
struct Sweep {
    begun: u32,
    next: usize,
    end: usize,
}

impl Sweep {
    fn begin(&mut self, stamp: u32, end: usize) {
        *self = Sweep { begun: stamp, next: 0, end };
    }
}

/// Memory that a table will need soon and that nobody makes yet: whoever is given this brings it.
#[must_use]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    entries: bool,
    slots: bool,
}

impl Wanted {
    /// Whether it is any.
    pub fn any(self) -> bool {
        self.entries || self.slots
    }
}

/// A known wire key; 48 bytes of content.
#[derive(Debug)]
pub struct Entry {
    key: u128,
    /// Of a vacant one, the next that is vacant.
    hash: u64,
    store_ref: AtomicU64,
    /// Length of the label region, 0 for 2.0.
    region_len: u32,
    next: AtomicU32,
    seen: AtomicU32,
    /// Fingerprint of the metadata that was stored last, 0 = none.
    metadata: AtomicU32,
}

// SAFETY: numbers.
unsafe impl AllZeros for Entry {}

impl Entry {
    /// xxHash64 of tenant and labels.
    #[inline]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The store's reference.
    #[inline]
    pub fn store_ref(&self) -> u64 {
        self.store_ref.load(Relaxed)
    }

    /// Fingerprint of the metadata that was stored last.
    pub fn metadata(&self) -> u32 {
        self.metadata.load(Relaxed)
    }
}

/// A wire key to remember.
#[derive(Debug, Clone, Copy)]
pub struct Learned {
    /// Index of the series in its request.
    pub position: u32,
    /// Its wire key.
    pub key: u128,
    /// Length of the label region, 0 for 2.0.
    pub region_len: u32,
    /// xxHash64 of tenant and labels.
    pub hash: u64,
    /// The store's reference.
    pub store_ref: u64,
}

impl Identity {
    /// Knows nothing; keeps `max_entries` at most.
    pub fn new(max_entries: usize) -> Self {
        Identity { table: RwLock::default(), max_entries: max_entries.min(NO_ENTRY as usize) }
    }

    /// The stamp of a moment of monotonic time.
    pub fn stamp(now: std::time::Duration) -> u32 {
        (now.as_secs() / STAMP_S) as u32 + 1
    }

    /// Opens the table for one request.
    pub fn view(&self, stamp: u32) -> View<'_> {
        View { table: self.table.read(), stamp }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.table.read().index.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets everything: limits have changed, so that every series must be judged again.
    pub fn clear(&self) {
        let forgotten = std::mem::take(&mut *self.table.write());
        drop(forgotten); // without the lock: its memory goes back to the system
    }

    /// Remembers the new series of a request. `entries` names the entry of each of its series in order,
    /// [`NO_ENTRY`] where there was none, and is completed; neighbours become each other's predictions. Gives what memory
    /// shall be brought before more series come.
    pub fn learn(&self, new: &[Learned], entries: &mut [u32], stamp: u32) -> Wanted {
        if new.is_empty() {
            return Wanted::default();
        }
        self.table.read().index.begin(new.iter().map(|learned| learned.key));
        let mut table = self.table.write();
        table.make_room(stamp, new.len(), self.max_entries);
        for learned in new {
            let entry = table.insert(learned, stamp);
            entries[learned.position as usize] = entry;
        }
        for learned in new {
            let at = learned.position as usize;
            if at > 0 {
                table.link(entries[at - 1], entries[at]);
            }
            if let Some(&next) = entries.get(at + 1) {
                table.link(entries[at], next);
            }
        }
        Wanted { entries: table.entries.ahead().claim(), slots: table.index.ahead().claim() }
    }

    /// Makes memory that the table wants, and brings it. Takes milliseconds, none of them under the lock.
    pub fn bring_memory(&self, wanted: Wanted) {
        if wanted.entries {
            let page = Huge::touched();
            self.table.write().entries.ahead().bring(page);
        }
        if wanted.slots {
            let page = Huge::touched();
            self.table.write().index.ahead().bring(page);
        }
    }

    /// Notes other references of known series, because the store had forgotten the old ones. An entry whose
    /// hash is another by now is left alone.
    pub fn renew(&self, renewed: impl Iterator<Item = (u32, u64, u64)>) {
        let table = self.table.read();
        for (entry, hash, store_ref) in renewed {
            if let Some(e) = table.get(entry).filter(|e| e.hash == hash) {
                e.store_ref.store(store_ref, Relaxed);
            }
        }
    }

    /// Notes the metadata that was stored with series: `(entry, hash, fingerprint)`.
    pub fn describe(&self, described: impl Iterator<Item = (u32, u64, u32)>) {
        let table = self.table.read();
        for (entry, hash, fingerprint) in described {
            if let Some(e) = table.get(entry).filter(|e| e.hash == hash) {
                e.metadata.store(fingerprint, Relaxed);
            }
        }
    }
}

/// The table, open for one request.
pub struct View<'a> {
    table: RwLockReadGuard<'a, Table>,
    stamp: u32,
}

impl View<'_> {
    /// The entry that is likely to come after `last`.
    #[inline]
    fn predicted(&self, last: u32) -> Option<(u32, &Entry)> {
        let next = self.table.get(last)?.next.load(Relaxed);
        Some((next, self.table.get(next)?))
    }

    /// Predicts the series after `last` and checks the prediction against the label bytes of 1.0.
    #[inline]
    pub fn predict_region(&self, last: u32, series: v1::Series<'_>, keys: &WireKeys) -> Option<u32> {
        let (id, entry) = self.predicted(last)?;
        let region = series.region_of_len(entry.region_len as usize)?;
        (!region.is_empty() && keys.of_region(region) == entry.key).then(|| self.sent(id, entry))
    }

    /// Predicts the series after `last` and checks the prediction against its key.
    #[inline]
    pub fn predict_key(&self, last: u32, key: u128) -> Option<u32> {
        let (id, entry) = self.predicted(last)?;
        (entry.key == key).then(|| self.sent(id, entry))
    }

    /// Finds a key and predicts it after `last` from now on.
    pub fn find(&self, last: u32, key: u128) -> Option<u32> {
        let id = self.table.find(key)?;
        self.follows(last, id);
        Some(id)
    }

    /// Finds many keys, [`NO_ENTRY`] where there is none. Lookups of one key after the other wait for the memory each
    /// time; these wait together. [`View::follows`] is the caller's to call.
    pub fn find_all(&self, keys: &[u128], found: &mut [u32]) {
        for (id, key) in found.iter_mut().zip(keys) {
            *id = self.table.index.first(*key);
        }
        for (id, key) in found.iter_mut().zip(keys) {
            if self.table.get(*id).is_none_or(|e| e.key != *key) {
                *id = self.table.find(*key).unwrap_or(NO_ENTRY);
            }
        }
    }

    /// Notes that `id` was sent, and predicts it after `last` from now on.
    pub fn follows(&self, last: u32, id: u32) {
        self.table.link(last, id);
        self.sent(id, self.table.entry(id));
    }

    /// The entry that a recall gave.
    #[inline]
    pub fn entry(&self, id: u32) -> &Entry {
        self.table.entry(id)
    }

    /// Length of the label region of an entry.
    #[inline]
    pub fn region_len(&self, id: u32) -> usize {
        self.table.entry(id).region_len as usize
    }

    #[inline]
    fn sent(&self, id: u32, entry: &Entry) -> u32 {
        if entry.seen.load(Relaxed) != self.stamp {
            entry.seen.store(self.stamp, Relaxed);
        }
        id
    }
}

impl Table {
    #[inline]
    fn get(&self, id: u32) -> Option<&Entry> {
        self.entries.get(id as usize)
    }

    #[inline]
    fn entry(&self, id: u32) -> &Entry {
        &self.entries[id as usize]
    }

    #[inline]
    fn find(&self, key: u128) -> Option<u32> {
        self.index.find(key, |id| self.entry(id).key == key)
    }

    #[inline]
    fn link(&self, from: u32, to: u32) {
        if to != NO_ENTRY
            && let Some(entry) = self.get(from)
        {
            entry.next.store(to, Relaxed);
        }
    }

    fn insert(&mut self, learned: &Learned, stamp: u32) -> u32 {
        let key = learned.key;
        if let Some(id) = self.find(key) {
            self.entry(id).store_ref.store(learned.store_ref, Relaxed);
            return id;
        }
        let entry = Entry {
            key,
            hash: learned.hash,
            store_ref: AtomicU64::new(learned.store_ref),
            region_len: learned.region_len,
            next: AtomicU32::new(NO_ENTRY),
            seen: AtomicU32::new(stamp),
            metadata: AtomicU32::new(0),
        };
        let id = self.place();
        self.entries[id as usize] = entry;
        self.index.insert(key, id);
        id
    }

    /// A place for an entry: one that is vacant, else one that no entry had yet.
    fn place(&mut self) -> u32 {
        if let Some(behind) = self.get(self.vacant).map(|vacant| vacant.hash as u32) {
            return std::mem::replace(&mut self.vacant, behind);
        }
        self.entries.grow(1);
        (self.entries.len() - 1) as u32
    }

    /// Makes room for `coming` entries: drops some that nobody sent for long, and when the table is full whichever the
    /// sweep meets next.
    fn make_room(&mut self, stamp: u32, coming: usize, max_entries: usize) {
        if self.sweep.next == self.sweep.end && stamp >= self.sweep.begun.saturating_add(SWEEP_STAMPS) {
            self.sweep.begin(stamp, self.entries.len());
        }
        let until = self.sweep.end.min(self.sweep.next + coming * SWEPT_FOR_NEW);
        while self.sweep.next < until {
            let seen = self.entries[self.sweep.next].seen.load(Relaxed);
            if seen.saturating_add(IDLE_STAMPS) < stamp {
                self.forget(self.sweep.next);
            }
            self.sweep.next += 1;
        }
        while self.index.len() + coming > max_entries && !self.index.is_empty() {
            if self.sweep.next == self.sweep.end {
                self.sweep.begin(stamp, self.entries.len());
            }
            if self.entries[self.sweep.next].seen.load(Relaxed) != VACANT {
                self.forget(self.sweep.next);
            }
            self.sweep.next += 1;
        }
    }

    fn forget(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        self.index.remove(entry.key, at as u32);
        // Predictions may still lead here: nothing has this key and this length.
        (entry.key, entry.region_len) = (0, u32::MAX);
        (entry.hash, entry.seen) = (u64::from(self.vacant), AtomicU32::new(VACANT));
        self.vacant = at as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn learned(position: u32, key: u128) -> Learned {
        Learned { position, key, region_len: 0, hash: key as u64, store_ref: key as u64 }
    }

    /// Keys are hashes.
    fn spread(i: u128) -> u128 {
        i.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    /// Sends series by key, as the receiver does; gives how many were predicted, found and new.
    fn send(identity: &Identity, keys: &[u128], stamp: u32) -> (usize, usize, usize) {
        let (mut predicted, mut found, mut new) = (0, 0, Vec::new());
        let mut entries = Vec::new();
        {
            let view = identity.view(stamp);
            let mut last = NO_ENTRY;
            for (i, &key) in keys.iter().enumerate() {
                let id = if let Some(id) = view.predict_key(last, key) {
                    predicted += 1;
                    id
                } else if let Some(id) = view.find(last, key) {
                    found += 1;
                    id
                } else {
                    new.push(learned(i as u32, key));
                    NO_ENTRY
                };
                if id != NO_ENTRY {
                    assert_eq!(view.entry(id).store_ref(), key as u64, "another series was recalled");
                }
                entries.push(id);
                last = id;
            }
        }
        let wanted = identity.learn(&new, &mut entries, stamp);
        identity.bring_memory(wanted);
        (predicted, found, new.len())
    }

    /// Places that no entry has.
    fn vacant(identity: &Identity) -> usize {
        let table = identity.table.read();
        std::iter::successors(table.get(table.vacant), |vacant| table.get(vacant.hash as u32)).count()
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(std::mem::size_of::<Entry>(), 48);
    }

    #[test]
    fn an_order_that_is_kept_is_predicted() {
        let identity = Identity::new(1 << 20);
        let keys: Vec<u128> = (1..=10_000).collect();
        assert_eq!(send(&identity, &keys, 1), (0, 0, 10_000));
        assert_eq!(send(&identity, &keys, 1), (9_999, 1, 0));
        // Requests cut elsewhere: only their first series is looked up.
        assert_eq!(send(&identity, &keys[500..], 1), (9_499, 1, 0));
        // One series more in the middle: it and the one behind it.
        let with_one_more: Vec<u128> = [&keys[..100], &[77_777], &keys[100..]].concat();
        assert_eq!(send(&identity, &with_one_more, 1), (9_998, 2, 1));
        assert_eq!(send(&identity, &with_one_more, 1), (10_000, 1, 0));
    }

    #[test]
    fn a_table_of_several_pages_uses_those_that_were_brought() {
        let identity = Identity::new(1 << 20);
        let held = || {
            let mut table = identity.table.write();
            (table.entries.ahead().bytes(), table.index.ahead().bytes())
        };
        let keys: Vec<u128> = (1..=3 * PAGE_ENTRIES as u128).map(spread).collect();
        let (mut last, mut entries, mut slots) = ((0, 0), 0, 0);
        for part in keys.chunks(999) {
            assert_eq!(send(&identity, part, 1).2, part.len());
            // Held until it is used: it was brought, and then it was the table's.
            let now = held();
            entries += usize::from(last.0 > now.0);
            slots += usize::from(last.1 > now.1);
            last = now;
        }
        assert_eq!((entries, slots), (3, 2));
        assert_eq!((send(&identity, &keys, 1).2, identity.len()), (0, keys.len()));
        identity.clear();
        assert_eq!((identity.len(), held()), (0, (0, 0)));
    }

    #[test]
    fn memory_that_comes_after_it_was_needed_is_not_kept() {
        let identity = Identity::new(1 << 20);
        let (mut wanted, mut next) = (Wanted::default(), 1);
        while !wanted.any() {
            let new: Vec<_> = (next..next + 500).map(|key| learned(0, spread(key))).collect();
            wanted = identity.learn(&new, &mut [NO_ENTRY], 1);
            next += 500;
        }
        identity.clear();
        identity.bring_memory(wanted);
        assert_eq!(identity.table.write().entries.ahead().bytes(), 0);
    }

    #[test]
    fn a_shuffled_order_is_found() {
        let identity = Identity::new(1 << 20);
        let keys: Vec<u128> = (1..=1000).collect();
        send(&identity, &keys, 1);
        let shuffled: Vec<u128> = (0..1000).map(|i| (i * 387 % 1000) + 1).collect();
        let (predicted, found, new) = send(&identity, &shuffled, 1);
        assert_eq!((predicted + found, new), (1000, 0));
        assert_eq!(send(&identity, &shuffled, 1), (999, 1, 0), "and predicted the next time");
    }

    #[test]
    fn the_same_new_series_twice_is_one_entry() {
        let identity = Identity::new(100);
        send(&identity, &[1, 2, 1, 2], 1);
        assert_eq!(identity.len(), 2);
    }

    #[test]
    fn what_nobody_sends_is_dropped_and_its_place_used_again() {
        let identity = Identity::new(1 << 20);
        send(&identity, &[1, 2, 3], 1);
        send(&identity, &[1], IDLE_STAMPS);
        assert_eq!(send(&identity, &[4], IDLE_STAMPS + 2), (0, 0, 1));
        assert_eq!(identity.len(), 2, "1 and 4 are left");
        assert_eq!((identity.table.read().entries.len(), vacant(&identity)), (3, 1));
        // A prediction into a place that has a new owner is not believed.
        assert_eq!(send(&identity, &[1, 2], IDLE_STAMPS + 2), (0, 1, 1));
    }

    #[test]
    fn a_sweep_looks_at_a_few_entries_for_each_new_one_and_spares_what_was_sent() {
        let identity = Identity::new(1 << 20);
        let keys: Vec<u128> = (1..=1000).collect();
        let late = IDLE_STAMPS + 2;
        send(&identity, &keys, 1);
        send(&identity, &keys[..4], late);
        send(&identity, &[2000], late);
        assert_eq!(identity.len(), 1000 + 1 - (SWEPT_FOR_NEW - 4), "four of the first eight were idle");
        let new: Vec<u128> = (2001..2200).collect();
        send(&identity, &new, late);
        assert_eq!(identity.len(), 4 + 1 + new.len());
        assert_eq!(identity.table.read().entries.len(), 1000, "places were used again");
        assert_eq!(vacant(&identity), 1000 - identity.len());
        // The next sweep is not due yet, so nothing is looked at for these.
        send(&identity, &[3000], late + SWEEP_STAMPS - 1);
        assert_eq!(identity.table.read().sweep.begun, late);
    }

    #[test]
    fn a_full_table_drops_no_more_than_it_must() {
        let identity = Identity::new(100);
        let keys: Vec<u128> = (1..=100).collect();
        send(&identity, &keys, 1);
        let new: Vec<u128> = (1001..=1010).collect();
        send(&identity, &new, 1);
        assert_eq!((identity.len(), vacant(&identity)), (100, 0));
        assert_eq!(send(&identity, &new, 1).2, 0);
        assert_eq!(send(&identity, &keys[10..], 1).2, 0, "the first ten had to go");
    }

    proptest! {
        /// Known series come again, new ones come, idle ones and some of a full table go.
        #[test]
        fn what_was_just_sent_is_known_and_places_are_not_lost(
            ops in prop::collection::vec((0u128..900, 1u128..250, 0u32..6), 1..30)
        ) {
            let (identity, mut stamp) = (Identity::new(300), 1);
            for (first, count, later) in ops {
                stamp += later;
                let keys: Vec<u128> = (first..first + count).map(|i| spread(i + 1)).collect();
                let has_room = identity.len() + keys.len() <= 300;
                send(&identity, &keys, stamp);
                prop_assert!(!has_room || send(&identity, &keys, stamp).2 == 0);
                prop_assert!(identity.len() <= 300);
                let places = identity.table.read().entries.len();
                prop_assert_eq!(identity.len() + vacant(&identity), places);
            }
        }
    }

    #[test]
    fn entries_are_bounded() {
        let identity = Identity::new(100);
        for round in 0..50u128 {
            let keys: Vec<u128> = (round * 60 + 1..=round * 60 + 60).collect();
            send(&identity, &keys, 1);
            assert!(identity.len() <= 100);
        }
    }

    #[test]
    fn renewed_references_are_used_and_strangers_left_alone() {
        let identity = Identity::new(100);
        send(&identity, &[1, 2], 1);
        let id = identity.view(1).find(NO_ENTRY, 1).unwrap();
        identity.renew([(id, 1, 55), (1 - id, 999, 66), (50_000, 1, 77)].into_iter());
        let view = identity.view(1);
        assert_eq!(view.entry(id).store_ref(), 55);
        assert_eq!(view.entry(1 - id).store_ref(), 2);
    }
}
