//! Memory of open chunks: bytes that grow at their end.
//!
//! Chunks of most series begin, grow and end together. Blocks in size classes would be needed in one class after the
//! other, each class as large as all series. So a chunk is a chain of pieces of a cache line: growth moves nothing and
//! touches the last piece only. Pieces lie in regions of a huge page; one whose pieces are all free is given back.
//!
//! Invariant: a piece belongs to one chain or to its region's free list; a chain is valid until it is freed.
//!
//! This is a hot file: growth allocates nothing but regions.

use cairn_runtime::memory::{Ahead, AllZeros, HUGE_PAGE_BYTES, Huge};

/// Bytes of content in a piece: with the link it is a cache line.
const PIECE_BYTES: usize = 60;

/// Pieces of a region.
const REGION_PIECES: usize = HUGE_PAGE_BYTES / size_of::<Piece>();

/// The next region is wanted when so many pieces of the last one with room are used. Judgement: a million
/// samples a second of three bytes fill what is left in 40 ms, 150,000 series that begin a chunk in 14.
const WANT_AT: u32 = REGION_PIECES as u32 / 16 * 15;

/// Regions without content that are kept for the next chains. Judgement: one, so that nothing is taken and given back
/// in turns.
const SPARE_REGIONS: usize = 1;

/// No piece.
const NOTHING: u32 = u32::MAX;

/// Names a chain by its last piece; [`Chain::NONE`] names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain(u32);

impl Chain {
    /// No chain.
    pub const NONE: Chain = Chain(NOTHING);
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Piece {
    /// The piece before it in its chain or in the free list.
    before: u32,
    bytes: [u8; PIECE_BYTES],
}

/// The pieces of a region.
pub struct Pieces([Piece; REGION_PIECES]);

// SAFETY: numbers and bytes.
unsafe impl AllZeros for Pieces {}

struct Region {
    pieces: Huge<Pieces>,
    /// Pieces ever used since the region was empty; those behind are free and in no list.
    made: u32,
    /// Pieces in chains.
    used: u32,
    /// First of the free list, as a number in this region.
    free: u32,
    /// Whether the region is among [`Chains::candidates`].
    listed: bool,
}

/// Chains of bytes.
#[derive(Default)]
pub struct Chains {
    regions: Vec<Option<Region>>,
    /// Regions that may have free pieces; each is here at most once.
    candidates: Vec<u32>,
    /// Numbers without a region.
    vacant: Vec<u32>,
    /// Regions without content.
    spare: usize,
    /// The region that follows when no piece is free.
    pub ahead: Ahead<Pieces>,
}

impl Chains {
    /// The content of the chain's last piece; `len` are the bytes of the whole chain. Empty for [`Chain::NONE`].
    pub fn last(&self, chain: Chain, len: usize) -> &[u8] {
        if chain == Chain::NONE {
            return &[];
        }
        &self.piece(chain.0).bytes[..len - start_of_last(len)]
    }

    /// Puts `content` in the place of what [`Chains::last`] gave; it may be longer, and begins a chain behind
    /// [`Chain::NONE`]. Gives the chain's name from now on.
    ///
    /// # Panics
    /// When `content` is empty.
    pub fn replace_last(&mut self, chain: Chain, content: &[u8]) -> Chain {
        let (first, rest) = content.split_at(content.len().min(PIECE_BYTES));
        assert!(!first.is_empty(), "a chain has bytes");
        let mut last = match chain {
            Chain::NONE => self.add(NOTHING),
            Chain(last) => last,
        };
        self.piece_mut(last).bytes[..first.len()].copy_from_slice(first);
        for bytes in rest.chunks(PIECE_BYTES) {
            last = self.add(last);
            self.piece_mut(last).bytes[..bytes.len()].copy_from_slice(bytes);
        }
        Chain(last)
    }

    /// Appends the chain's `len` bytes to `out`.
    pub fn copy(&self, chain: Chain, len: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        out.resize(begin + len, 0);
        let (mut left, mut at) = (&mut out[begin..], chain.0);
        while !left.is_empty() {
            let piece = self.piece(at);
            let (before, bytes) = left.split_at_mut(start_of_last(left.len()));
            bytes.copy_from_slice(&piece.bytes[..bytes.len()]);
            (left, at) = (before, piece.before);
        }
    }

    /// Gives a chain back; [`Chain::NONE`] is fine.
    pub fn free(&mut self, chain: Chain) {
        let mut next = chain.0;
        while next != NOTHING {
            let (number, at) = (next as usize / REGION_PIECES, next as usize % REGION_PIECES);
            let region = self.regions[number].as_mut().expect(HAS_REGION);
            next = std::mem::replace(&mut region.pieces.0[at].before, region.free);
            region.free = at as u32;
            region.used -= 1;
            if !region.listed {
                region.listed = true;
                self.candidates.push(number as u32);
            }
            if region.used > 0 {
                continue;
            }
            (region.made, region.free) = (0, NOTHING);
            if self.spare < SPARE_REGIONS {
                self.spare += 1;
            } else {
                self.regions[number] = None;
            }
        }
    }

    /// A piece behind `before`.
    fn add(&mut self, before: u32) -> u32 {
        let number = self.region_with_room();
        let region = self.regions[number].as_mut().expect("just found");
        if region.used == 0 {
            self.spare -= 1;
        }
        region.used += 1;
        if region.used == WANT_AT && self.candidates.len() == 1 {
            self.ahead.want();
        }
        let at = if region.free == NOTHING {
            region.made += 1;
            region.made as usize - 1
        } else {
            let at = region.free as usize;
            region.free = region.pieces.0[at].before;
            at
        };
        region.pieces.0[at].before = before;
        (number * REGION_PIECES + at) as u32
    }

    fn region_with_room(&mut self) -> usize {
        while let Some(&number) = self.candidates.last() {
            match &mut self.regions[number as usize] {
                Some(region) if (region.used as usize) < REGION_PIECES => return number as usize,
                Some(region) => region.listed = false,
                // Only now may the number be used again: no region is among the candidates twice.
                None => self.vacant.push(number),
            }
            self.candidates.pop();
        }
        let number = self.vacant.pop().map_or(self.regions.len(), |number| number as usize);
        if number == self.regions.len() {
            assert!(number < (NOTHING as usize) / REGION_PIECES, "chains have at most 256 GiB");
            self.regions.push(None);
        }
        self.regions[number] =
            Some(Region { pieces: self.ahead.take(), made: 0, used: 0, free: NOTHING, listed: true });
        self.candidates.push(number as u32);
        self.spare += 1;
        number
    }

    #[inline]
    fn piece(&self, at: u32) -> &Piece {
        let region = self.regions[at as usize / REGION_PIECES].as_ref().expect(HAS_REGION);
        &region.pieces.0[at as usize % REGION_PIECES]
    }

    #[inline]
    fn piece_mut(&mut self, at: u32) -> &mut Piece {
        let region = self.regions[at as usize / REGION_PIECES].as_mut().expect(HAS_REGION);
        &mut region.pieces.0[at as usize % REGION_PIECES]
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let regions = self.regions.iter().flatten().count() * HUGE_PAGE_BYTES;
        regions
            + self.ahead.bytes()
            + self.regions.capacity() * size_of::<Option<Region>>()
            + (self.candidates.capacity() + self.vacant.capacity()) * 4
    }
}

const HAS_REGION: &str = "a chain's pieces have regions";

/// Where the last piece of a chain of `len` bytes begins.
fn start_of_last(len: usize) -> usize {
    len.saturating_sub(1) / PIECE_BYTES * PIECE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grow(chains: &mut Chains, (chain, held): &mut (Chain, Vec<u8>), more: &[u8]) {
        let mut last = chains.last(*chain, held.len()).to_vec();
        last.extend_from_slice(more);
        *chain = chains.replace_last(*chain, &last);
        held.extend_from_slice(more);
    }

    proptest! {
        #[test]
        fn chains_hold_what_was_put_into_them(
            steps in prop::collection::vec((0usize..20, 1usize..500, any::<u8>()), 1..200),
        ) {
            let mut chains = Chains::default();
            let mut held = vec![(Chain::NONE, Vec::new()); 20];
            for (i, len, fill) in steps {
                if len % 7 == 0 {
                    chains.free(held[i].0);
                    held[i] = (Chain::NONE, Vec::new());
                } else {
                    let more: Vec<u8> = (0..len).map(|k| fill.wrapping_add(k as u8)).collect();
                    grow(&mut chains, &mut held[i], &more);
                }
                for (chain, content) in &held {
                    let mut copied = vec![1, 2, 3];
                    chains.copy(*chain, content.len(), &mut copied);
                    prop_assert_eq!(&copied[..3], &[1, 2, 3]);
                    prop_assert_eq!(&copied[3..], &content[..]);
                }
            }
        }
    }

    #[test]
    fn chains_that_grow_and_end_together_need_what_they_hold() {
        let mut chains = Chains::default();
        let mut held = vec![(Chain::NONE, Vec::new()); 50_000];
        for round in 0..3 {
            for _ in 0..15 {
                for one in &mut held {
                    grow(&mut chains, one, &[round; 23]);
                }
            }
            let (content, heap) = (held.len() * 15 * 23, chains.heap_bytes());
            assert!(heap < content * 5 / 4, "{content} bytes held in {heap}");
            for one in &mut held {
                chains.free(one.0);
                *one = (Chain::NONE, Vec::new());
            }
            let heap = chains.heap_bytes();
            assert!(heap <= 3 << 20, "{heap} bytes left of nothing");
        }
    }

    #[test]
    fn pieces_are_cache_lines() {
        assert_eq!((size_of::<Piece>(), align_of::<Piece>()), (64, 64));
    }
}
