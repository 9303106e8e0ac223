//! The state of a series: what every sample touches, and what only some do.
//!
//! [`Hot`] is two cache lines: the raw tail of up to [`TAIL`] floats with what decides whether the next sample goes
//! there. [`Cold`] is touched when the tail is encoded, and by readers. What few series need (histograms,
//! out-of-order samples, start timestamps) lies in [`super::partition::Extra`]. [`Slab`] keeps both in regions of a huge
//! page each.
//!
//! Invariant: slots rise and are never reused, so a reference to a series that left memory can be told from any
//! other; the memory of [`GROUP`] neighbours that have all left is given back.
//!
//! This is a hot file: a sample that goes to the tail allocates nothing.

use cairn_model::TimestampMs;
use cairn_runtime::memory::{Ahead, AllZeros, HUGE_PAGE_BYTES, Huge, give_back};

use super::arena::WordList;
use super::chains::Chain;
use crate::chunkenc::XorAppender;

/// Samples of a raw tail. Judgement: with 8 the tail is one cache line of values, and encoding runs 15 times a chunk.
pub const TAIL: usize = 8;

/// Number of a window: its start divided by the window's length.
pub type WindowNo = i32;

/// Number of a tenant in this process.
pub type TenantNo = u32;

/// No window: the next float takes the slow path.
pub const NO_WINDOW: WindowNo = WindowNo::MIN;

/// The series has an entry in the partition's extras.
pub const HAS_EXTRA: u8 = 1;

/// The open chunk is the first of its window.
pub const FIRST_CHUNK: u8 = 2;

/// What every sample of a series touches.
#[derive(Debug, Clone)]
#[repr(C, align(128))]
pub struct Hot {
    /// Hash of tenant and labels, which a sender's reference must agree with.
    pub hash: u64,
    /// Number of the series in the log.
    pub log_id: u64,
    /// Times of the tail, relative to the window's start.
    pub tail_dt: [u32; TAIL],
    /// Window of the open chunk and tail, or [`NO_WINDOW`].
    pub window: WindowNo,
    /// Time of the newest sample in the window, relative to its start.
    pub last_dt: u32,
    /// Low bits of the segment in which the series' definition is known to be synced.
    pub defined_in: u32,
    /// Samples in the tail.
    pub tail_len: u8,
    /// Samples in the open chunk, the tail left out.
    pub encoded: u8,
    /// [`HAS_EXTRA`], [`FIRST_CHUNK`].
    pub flags: u8,
    /// Values of the tail.
    pub tail_values: [f64; TAIL],
}

/// What only encoding and reading touch.
#[derive(Debug, Clone)]
pub struct Cold {
    /// Keyed hash of the labels: with [`Hot::hash`] it identifies them.
    pub key: u64,
    /// Newest full chunk, or 0; each names the one before.
    pub full: u64,
    /// Time of the newest sample outside the open window.
    pub last_ms: TimestampMs,
    /// The open chunk's encoder; means nothing when [`Cold::open`] is none.
    pub xor: XorAppender,
    /// The open chunk, without the count that begins it.
    pub open: Chain,
    /// Its bytes.
    pub open_len: u16,
    /// Whose series.
    pub tenant: TenantNo,
    /// Time of the open chunk's first sample, relative to the window's start.
    pub first_dt: u32,
    /// The labels, as pair numbers in order of their names.
    pub labels: WordList,
}

/// Series of a region: as many groups as a huge page has room for, with a bit for each series.
const REGION: usize = HUGE_PAGE_BYTES / (GROUP * (size_of::<Hot>() + size_of::<Cold>()) + GROUP / 8) * GROUP;

/// The next region is wanted when so many series of the last are there. Judgement: what is left fills in 2 ms at the
/// earliest, when new series come without end, and in hours as a rule.
const WANT_AT: usize = REGION / 8 * 7;

/// Series whose memory is given back together: their states fill whole pages.
const GROUP: usize = 512;

/// States of series with slots that follow each other.
#[repr(C)]
pub struct Region {
    hot: [Hot; REGION],
    cold: [Cold; REGION],
    live: [u64; REGION / 64],
}

const _: () = assert!(size_of::<Region>() <= HUGE_PAGE_BYTES);

// SAFETY: numbers, and numbers wrapped in types without invariants on their bits.
unsafe impl AllZeros for Hot {}
// SAFETY: as above.
unsafe impl AllZeros for Cold {}
// SAFETY: arrays of the above and of numbers.
unsafe impl AllZeros for Region {}

impl Region {
    #[inline]
    fn is_live(&self, at: usize) -> bool {
        self.live[at / 64] >> (at % 64) & 1 == 1
    }

    fn group_is_dead(&self, group: usize) -> bool {
        self.live[group * GROUP / 64..][..GROUP / 64].iter().all(|bits| *bits == 0)
    }
}

/// All series of a partition, by slot.
#[derive(Default)]
pub struct Slab {
    regions: Vec<Option<Huge<Region>>>,
    /// The region behind the last one.
    pub ahead: Ahead<Region>,
    next: u32,
    live: usize,
    /// Groups of existing regions whose memory was given back.
    given_back: usize,
}

impl Hot {
    /// A series without samples.
    pub fn new(hash: u64, log_id: u64) -> Self {
        Hot {
            hash,
            log_id,
            tail_dt: [0; TAIL],
            window: NO_WINDOW,
            last_dt: 0,
            defined_in: 0,
            tail_len: 0,
            encoded: 0,
            flags: 0,
            tail_values: [0.0; TAIL],
        }
    }
}

impl Slab {
    /// Adds a series and gives its slot; `None` when all slots were used up.
    pub fn add(&mut self, hot: Hot, cold: Cold) -> Option<u32> {
        if self.next == u32::MAX {
            return None;
        }
        let slot = self.next;
        let (number, at) = (slot as usize / REGION, slot as usize % REGION);
        if number == self.regions.len() {
            self.regions.push(Some(self.ahead.take()));
        }
        if at == WANT_AT {
            self.ahead.want();
        }
        let region = self.regions[number]
            .as_mut()
            .expect("the last region is given back only when a next one is begun");
        region.hot[at] = hot;
        region.cold[at] = cold;
        region.live[at / 64] |= 1 << (at % 64);
        self.next += 1;
        self.live += 1;
        Some(slot)
    }

    /// Whether the slot holds a series.
    #[inline]
    pub fn is_live(&self, slot: u32) -> bool {
        let (number, at) = (slot as usize / REGION, slot as usize % REGION);
        matches!(self.regions.get(number), Some(Some(r)) if r.is_live(at))
    }

    /// The series' hot state, if the slot holds a series.
    #[inline]
    pub fn hot(&self, slot: u32) -> Option<&Hot> {
        let (number, at) = (slot as usize / REGION, slot as usize % REGION);
        let region = self.regions.get(number)?.as_ref()?;
        region.is_live(at).then(|| &region.hot[at])
    }

    /// The series' hot state for writing, if the slot holds a series.
    #[inline]
    pub fn hot_mut(&mut self, slot: u32) -> Option<&mut Hot> {
        let (number, at) = (slot as usize / REGION, slot as usize % REGION);
        let region = self.regions.get_mut(number)?.as_mut()?;
        region.is_live(at).then(|| &mut region.hot[at])
    }

    /// Both states of a series.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<(&Hot, &Cold)> {
        let (number, at) = (slot as usize / REGION, slot as usize % REGION);
        let region = self.regions.get(number)?.as_ref()?;
        region.is_live(at).then(|| (&region.hot[at], &region.cold[at]))
    }

    /// Both states of a live series for writing.
    ///
    /// # Panics
    /// When the slot holds no series.
    #[inline]
    pub fn live_mut(&mut self, slot: u32) -> (&mut Hot, &mut Cold) {
        let (number, at) = (slot as usize / REGION, slot as usize % REGION);
        let region: &mut Region = self.regions[number].as_mut().expect("callers hold a live slot");
        debug_assert!(region.is_live(at));
        (&mut region.hot[at], &mut region.cold[at])
    }

    /// Forgets a series. Its labels, chunks and extras are the caller's to free.
    pub fn remove(&mut self, slot: u32) {
        let (number, at) = (slot as usize / REGION, slot as usize % REGION);
        let Some(Some(region)) = self.regions.get_mut(number) else { return };
        if !region.is_live(at) {
            return;
        }
        region.live[at / 64] &= !(1 << (at % 64));
        self.live -= 1;
        let (group, next) = (slot as usize / GROUP, self.next as usize);
        if (group + 1) * GROUP > next || !region.group_is_dead(at / GROUP) {
            return;
        }
        if (number + 1) * REGION <= next && region.live.iter().all(|bits| *bits == 0) {
            self.regions[number] = None;
            self.given_back -= REGION / GROUP - 1;
            return;
        }
        let range = at / GROUP * GROUP..(at / GROUP + 1) * GROUP;
        give_back(&mut region.hot[range.clone()]);
        give_back(&mut region.cold[range]);
        self.given_back += 1;
    }

    /// Slots of live series, rising.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.regions.iter().enumerate().filter_map(|(i, r)| Some((i, r.as_ref()?))).flat_map(|(i, r)| {
            (0..REGION).filter(move |at| r.is_live(*at)).map(move |at| (i * REGION + at) as u32)
        })
    }

    /// Slots are below this.
    pub fn end(&self) -> u32 {
        self.next
    }

    /// Live series.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let group = GROUP * (size_of::<Hot>() + size_of::<Cold>());
        // Of the last region only what was touched.
        let untouched = self.regions.len() * REGION - self.next as usize;
        self.regions.capacity() * 8
            + self.ahead.bytes()
            + self.regions.iter().flatten().count() * HUGE_PAGE_BYTES
            - self.given_back * group
            - untouched * (size_of::<Hot>() + size_of::<Cold>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cold() -> Cold {
        Cold {
            key: 0,
            full: 0,
            last_ms: i64::MIN,
            xor: XorAppender::NONE,
            open: Chain::NONE,
            open_len: 0,
            tenant: 0,
            first_dt: 0,
            labels: WordList::default(),
        }
    }

    #[test]
    fn a_hot_state_is_two_cache_lines() {
        assert_eq!(size_of::<Hot>(), 128);
        assert!(size_of::<Cold>() <= 88, "{}", size_of::<Cold>());
    }

    #[test]
    fn slots_are_never_reused_and_the_memory_of_dead_groups_is_given_back() {
        let mut s = Slab::default();
        for i in 0..REGION as u64 + 130 {
            assert_eq!(s.add(Hot::new(i, i), cold()), Some(i as u32));
        }
        let before = s.heap_bytes();
        for slot in 0..GROUP as u32 {
            s.remove(slot);
        }
        assert!(!s.is_live(3) && s.hot(3).is_none());
        assert_eq!(s.hot(GROUP as u32).unwrap().hash, GROUP as u64, "the next group is as it was");
        assert_eq!(before - s.heap_bytes(), GROUP * (size_of::<Hot>() + size_of::<Cold>()));
        s.remove(REGION as u32 + 129);
        s.remove(REGION as u32 + 129);
        assert_eq!(s.len(), REGION - GROUP + 129);
        assert_eq!(s.add(Hot::new(7, 7), cold()), Some(REGION as u32 + 130));
        assert_eq!(s.slots().count(), REGION - GROUP + 130);
        assert_eq!(s.slots().last(), Some(REGION as u32 + 130));
        for slot in GROUP as u32..REGION as u32 {
            s.remove(slot);
        }
        assert!(s.regions[0].is_none() && s.given_back == 0);
        assert_eq!(s.slots().count(), 130);
    }

    #[test]
    fn the_next_region_is_wanted_before_the_last_is_full() {
        let mut s = Slab::default();
        for i in 0..REGION as u64 {
            assert_eq!(s.ahead.is_lacking(), i as usize > WANT_AT);
            s.add(Hot::new(i, i), cold());
        }
        assert!(s.ahead.claim());
        s.ahead.bring(Huge::touched());
        let before = s.heap_bytes();
        s.add(Hot::new(7, 7), cold());
        assert_eq!((s.ahead.bytes(), s.hot(REGION as u32).unwrap().hash), (0, 7));
        assert!(s.heap_bytes() < before);
    }

    proptest::proptest! {
        #[test]
        fn a_slab_holds_what_a_map_holds(steps in proptest::collection::vec((0u32..12, 0u32..3_000), 1..60)) {
            let (mut slab, mut map) = (Slab::default(), std::collections::BTreeMap::new());
            for (what, n) in steps {
                if what < 8 {
                    for _ in 0..n {
                        let hash = u64::from(slab.end()) * 31;
                        let slot = slab.add(Hot::new(hash, 1), cold()).unwrap();
                        map.insert(slot, hash);
                    }
                } else {
                    let from = n.wrapping_mul(7919) % slab.end().max(1);
                    for slot in from..(from + n).min(slab.end()) {
                        slab.remove(slot);
                        map.remove(&slot);
                    }
                }
                proptest::prop_assert_eq!(slab.len(), map.len());
            }
            let held: Vec<_> = slab.slots().map(|slot| (slot, slab.hot(slot).unwrap().hash)).collect();
            proptest::prop_assert_eq!(held, map.into_iter().collect::<Vec<_>>());
        }
    }
}
