//! The state of a series: what every sample touches, and what only some do.
//!
//! [`Hot`] is two cache lines: the raw tail of up to [`TAIL`] floats with what decides whether the next sample goes
//! there. [`Cold`] is touched when the tail is encoded, and by readers. What few series need (histograms,
//! out-of-order samples, start timestamps) lies in [`super::extra`]. [`Slab`] keeps both in pages.
//!
//! Invariant: slots rise and are never reused, so a reference to a series that left memory can be told from any
//! other; a page whose series have all left is given back.
//!
//! This is a hot file: a sample that goes to the tail allocates nothing.

use cairn_model::TimestampMs;

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
    /// [`HAS_EXTRA`].
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

/// Series of a page: 64 hot states are 8 KiB.
const PAGE: usize = 64;

struct Page {
    hot: [Hot; PAGE],
    cold: Vec<Cold>,
    live: u64,
}

/// All series of a partition, by slot.
#[derive(Default)]
pub struct Slab {
    pages: Vec<Option<Box<Page>>>,
    next: u32,
    live: usize,
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
        let (page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        if at == 0 {
            let empty = Page {
                hot: std::array::from_fn(|_| Hot::new(0, 0)),
                cold: Vec::with_capacity(PAGE),
                live: 0,
            };
            self.pages.push(Some(Box::new(empty)));
        }
        let page =
            self.pages[page].as_mut().expect("the last page is given back only when a next one is begun");
        page.hot[at] = hot;
        page.cold.push(cold);
        page.live |= 1 << at;
        self.next += 1;
        self.live += 1;
        Some(slot)
    }

    /// Whether the slot holds a series.
    #[inline]
    pub fn is_live(&self, slot: u32) -> bool {
        let (page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        matches!(self.pages.get(page), Some(Some(p)) if p.live >> at & 1 == 1)
    }

    /// The series' hot state, if the slot holds a series.
    #[inline]
    pub fn hot(&self, slot: u32) -> Option<&Hot> {
        let (page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        let page = self.pages.get(page)?.as_ref()?;
        (page.live >> at & 1 == 1).then(|| &page.hot[at])
    }

    /// The series' hot state for writing, if the slot holds a series.
    #[inline]
    pub fn hot_mut(&mut self, slot: u32) -> Option<&mut Hot> {
        let (page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        let page = self.pages.get_mut(page)?.as_mut()?;
        (page.live >> at & 1 == 1).then(|| &mut page.hot[at])
    }

    /// Both states of a series.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<(&Hot, &Cold)> {
        let (page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        let page = self.pages.get(page)?.as_ref()?;
        (page.live >> at & 1 == 1).then(|| (&page.hot[at], &page.cold[at]))
    }

    /// Both states of a live series for writing.
    ///
    /// # Panics
    /// When the slot holds no series.
    #[inline]
    pub fn live_mut(&mut self, slot: u32) -> (&mut Hot, &mut Cold) {
        let (page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        let page = self.pages[page].as_mut().expect("callers hold a live slot");
        debug_assert!(page.live >> at & 1 == 1);
        (&mut page.hot[at], &mut page.cold[at])
    }

    /// Forgets a series. Its labels, chunks and extras are the caller's to free.
    pub fn remove(&mut self, slot: u32) {
        let (at_page, at) = (slot as usize / PAGE, slot as usize % PAGE);
        let is_last = at_page + 1 == self.pages.len() && !(self.next as usize).is_multiple_of(PAGE);
        let Some(Some(page)) = self.pages.get_mut(at_page) else { return };
        if page.live >> at & 1 == 0 {
            return;
        }
        page.live &= !(1 << at);
        self.live -= 1;
        if page.live == 0 && !is_last {
            self.pages[at_page] = None;
        }
    }

    /// Slots of live series, rising.
    pub fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.pages.iter().enumerate().filter_map(|(i, p)| Some((i, p.as_ref()?))).flat_map(|(i, p)| {
            (0..PAGE).filter(|at| p.live >> at & 1 == 1).map(move |at| (i * PAGE + at) as u32)
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
        let page = size_of::<Page>() + PAGE * size_of::<Cold>();
        self.pages.capacity() * 8 + self.pages.iter().flatten().count() * page
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
    fn slots_are_never_reused_and_empty_pages_given_back() {
        let mut s = Slab::default();
        for i in 0..130 {
            assert_eq!(s.add(Hot::new(i, i), cold()), Some(i as u32));
        }
        for slot in 0..64 {
            s.remove(slot);
        }
        assert!(s.pages[0].is_none() && !s.is_live(3) && s.hot(3).is_none());
        s.remove(129);
        s.remove(129);
        assert_eq!(s.len(), 65);
        assert_eq!(s.add(Hot::new(7, 7), cold()), Some(130));
        assert_eq!(s.slots().count(), 66);
        assert_eq!(s.slots().last(), Some(130));
    }
}
