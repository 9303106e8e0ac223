//! Where the float samples of a series go when they leave its tail: the open chunk, then the full ones.
//!
//! The open chunk lies in a block of the arena; its encoder's state lies in [`Cold`], so encoding a tail decodes
//! nothing. A chunk is full at 120 samples, at the edge of its window, or when its block could overflow.
//!
//! Invariant: main chunks of a series lie in one window each and are strictly rising in time.
//!
//! This is a hot file: encoding a tail allocates nothing but arena pages.

use cairn_model::{Encoding, TimestampMs};

use super::arena::{Block, ByteBlocks};
use super::full::FullChunks;
use super::histogram::Closed;
use super::series::{Cold, Hot, NO_WINDOW, TAIL, WindowNo};
use crate::chunkenc::XorAppender;

/// Samples of a full chunk, as Prometheus and Thanos expect them.
pub const CHUNK_SAMPLES: u8 = 120;

/// A tail encodes to at most this: 68 bits of time and 77 of value a sample, and the header.
const MAX_TAIL_BYTES: usize = TAIL * 19 + 20;

/// The chunks of a partition.
#[derive(Default)]
pub struct Chunks {
    /// Blocks of open chunks.
    pub open: ByteBlocks,
    /// Full chunks.
    pub full: FullChunks,
    scratch: Vec<u8>,
}

/// A series while its chunks are changed.
pub struct OfSeries<'a> {
    /// Its slot.
    pub slot: u32,
    /// Its hot state.
    pub hot: &'a mut Hot,
    /// Its cold state.
    pub cold: &'a mut Cold,
}

impl Chunks {
    /// Encodes the tail into the open chunk and empties it. `start_ms` is the start of the series' window.
    pub fn encode_tail(&mut self, s: &mut OfSeries<'_>, start_ms: TimestampMs) {
        let n = usize::from(s.hot.tail_len);
        if n == 0 {
            return;
        }
        let mut t_ms = [0i64; TAIL];
        for (t, dt) in t_ms.iter_mut().zip(s.hot.tail_dt) {
            *t = start_ms + i64::from(dt);
        }
        self.scratch.clear();
        if s.cold.open == Block::NONE {
            s.cold.xor = XorAppender::start(&mut self.scratch);
            s.cold.first_dt = s.hot.tail_dt[0];
            s.hot.encoded = 0;
        } else {
            let open = &self.open.bytes(s.cold.open)[..usize::from(s.cold.open_len)];
            self.scratch.extend_from_slice(open);
        }
        s.cold.xor.append(&mut self.scratch, &t_ms[..n], &s.hot.tail_values[..n]);
        s.hot.encoded += n as u8;
        s.hot.tail_len = 0;
        if s.hot.encoded >= CHUNK_SAMPLES || self.scratch.len() + MAX_TAIL_BYTES > ByteBlocks::MAX_BYTES {
            self.scratch_is_full(s, start_ms);
        } else {
            s.cold.open = self.open.store(s.cold.open, &self.scratch);
            s.cold.open_len = self.scratch.len() as u16;
        }
    }

    /// Ends the open chunk, tail included.
    pub fn finish_open(&mut self, s: &mut OfSeries<'_>, start_ms: TimestampMs) {
        self.encode_tail(s, start_ms);
        if s.cold.open != Block::NONE {
            let open = &self.open.bytes(s.cold.open)[..usize::from(s.cold.open_len)];
            self.scratch.clear();
            self.scratch.extend_from_slice(open);
            self.scratch_is_full(s, start_ms);
        }
    }

    /// Ends the open chunk and leaves the window, so that the next float takes the slow path.
    pub fn leave_window(&mut self, s: &mut OfSeries<'_>, start_ms: TimestampMs) {
        if s.hot.window != NO_WINDOW {
            self.finish_open(s, start_ms);
            s.cold.last_ms = start_ms + i64::from(s.hot.last_dt);
            s.hot.window = NO_WINDOW;
        }
    }

    /// The scratch holds a whole chunk of the series' window: it becomes a full one.
    fn scratch_is_full(&mut self, s: &mut OfSeries<'_>, start_ms: TimestampMs) {
        let range = (start_ms + i64::from(s.cold.first_dt), s.cold.xor.last_ms());
        let key = (s.cold.tenant, s.hot.window);
        s.cold.full = self.full.push(s.slot, key, s.cold.full, range, Encoding::Xor, &self.scratch);
        self.open.free(s.cold.open);
        s.cold.open = Block::NONE;
        s.cold.open_len = 0;
        s.hot.encoded = 0;
    }

    /// Adds a closed histogram chunk.
    pub fn push_histogram(&mut self, slot: u32, cold: &mut Cold, closed: &Closed) {
        let key = (cold.tenant, closed.window);
        cold.full = self.full.push(slot, key, cold.full, closed.range, closed.encoding, &closed.bytes);
    }

    /// The open chunk's bytes; empty when there is none.
    pub fn open_bytes(&self, cold: &Cold) -> &[u8] {
        match cold.open {
            Block::NONE => &[],
            block => &self.open.bytes(block)[..usize::from(cold.open_len)],
        }
    }
}

/// The window of a time, if windows are numbered so far.
pub fn window_of(t_ms: TimestampMs, length_ms: i64) -> Option<WindowNo> {
    let window = WindowNo::try_from(t_ms.div_euclid(length_ms)).ok()?;
    (window != NO_WINDOW).then_some(window)
}
