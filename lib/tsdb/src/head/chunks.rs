//! Where the float samples of a series go when they leave its tail: the open chunk, then the full ones.
//!
//! The open chunk lies in a chain of pieces, without the count that begins it; its encoder's state lies in [`Cold`], so
//! encoding a tail decodes nothing and touches the last piece only. A chunk is full at 120 samples, at the edge of its
//! window, or when it is long.
//!
//! Invariant: main chunks of a series lie in one window each and are strictly rising in time.
//!
//! This is a hot file: encoding a tail allocates nothing but regions of chains.

use cairn_model::{Encoding, TimestampMs};

use super::chains::{Chain, Chains};
use super::full::FullChunks;
use super::histogram::Closed;
use super::series::{Cold, Hot, NO_WINDOW, TAIL, WindowNo};
use crate::chunkenc::XorAppender;

/// Samples of a full chunk, as Prometheus and Thanos expect them.
pub const CHUNK_SAMPLES: u8 = 120;

/// Longest open chunk.
pub const MAX_OPEN_BYTES: usize = 2048;

/// A tail encodes to at most this: 68 bits of time and 77 of value a sample, and the header.
const MAX_TAIL_BYTES: usize = TAIL * 19 + 20;

/// The count of samples, which begins a chunk and follows from its encoder's state.
const COUNT_BYTES: usize = 2;

/// The chunks of a partition.
#[derive(Default)]
pub struct Chunks {
    /// Bytes of open chunks.
    pub open: Chains,
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
        if s.cold.open == Chain::NONE {
            s.cold.xor = XorAppender::start(&mut self.scratch);
            s.cold.first_dt = s.hot.tail_dt[0];
            s.hot.encoded = 0;
        } else {
            // The encoder goes on behind any bytes of a chunk: it reads none but the last.
            self.scratch.extend_from_slice(&[0; COUNT_BYTES]);
            self.scratch.extend_from_slice(self.open.last(s.cold.open, usize::from(s.cold.open_len)));
        }
        let before = self.scratch.len();
        s.cold.xor.append(&mut self.scratch, &t_ms[..n], &s.hot.tail_values[..n]);
        s.hot.encoded += n as u8;
        s.hot.tail_len = 0;
        s.cold.open = self.open.replace_last(s.cold.open, &self.scratch[COUNT_BYTES..]);
        s.cold.open_len += (self.scratch.len() - before) as u16;
        if s.hot.encoded >= CHUNK_SAMPLES || usize::from(s.cold.open_len) + MAX_TAIL_BYTES > MAX_OPEN_BYTES {
            self.open_is_full(s, start_ms);
        }
    }

    /// Ends the open chunk, tail included.
    pub fn finish_open(&mut self, s: &mut OfSeries<'_>, start_ms: TimestampMs) {
        self.encode_tail(s, start_ms);
        if s.cold.open != Chain::NONE {
            self.open_is_full(s, start_ms);
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

    /// The open chunk becomes a full one.
    fn open_is_full(&mut self, s: &mut OfSeries<'_>, start_ms: TimestampMs) {
        let mut chunk = std::mem::take(&mut self.scratch);
        chunk.clear();
        self.copy_open(s.cold, &mut chunk);
        let range = (start_ms + i64::from(s.cold.first_dt), s.cold.xor.last_ms());
        let key = (s.cold.tenant, s.hot.window);
        s.cold.full = self.full.push(s.slot, key, s.cold.full, range, Encoding::Xor, &chunk);
        self.scratch = chunk;
        self.open.free(s.cold.open);
        s.cold.open = Chain::NONE;
        s.cold.open_len = 0;
        s.hot.encoded = 0;
    }

    /// Adds a closed histogram chunk.
    pub fn push_histogram(&mut self, slot: u32, cold: &mut Cold, closed: &Closed) {
        let key = (cold.tenant, closed.window);
        cold.full = self.full.push(slot, key, cold.full, closed.range, closed.encoding, &closed.bytes);
    }

    /// Appends the open chunk to `out`; nothing when there is none.
    pub fn copy_open(&self, cold: &Cold, out: &mut Vec<u8>) {
        if cold.open != Chain::NONE {
            out.extend_from_slice(&(cold.xor.samples() as u16).to_be_bytes());
            self.open.copy(cold.open, usize::from(cold.open_len), out);
        }
    }

    /// The open chunk; empty when there is none.
    pub fn open_chunk(&self, cold: &Cold) -> Vec<u8> {
        let mut chunk = Vec::new();
        self.copy_open(cold, &mut chunk);
        chunk
    }

    /// Takes an open chunk for a series that has none; the encoder is in `cold`.
    pub fn adopt_open(&mut self, cold: &mut Cold, chunk: &[u8]) {
        let stream = &chunk[COUNT_BYTES..];
        cold.open = self.open.replace_last(Chain::NONE, stream);
        cold.open_len = stream.len() as u16;
    }
}

/// Whether it is the series' turn to encode its tail, with `samples` in its chunk. Turns are spread over the slots: where
/// all series began together, all tails would be full in the same round of scrapes, whose writes would wait.
#[inline]
pub fn is_turn(slot: u32, samples: u8) -> bool {
    let phase = slot / SLOTS_A_TURN % TAIL as u32;
    u32::from(samples) % TAIL as u32 == phase || samples == CHUNK_SAMPLES
}

/// Slots that encode in the same round. Judgement: neighbours share the branch and the pieces they touch.
const SLOTS_A_TURN: u32 = 16;

/// Bytes of a series' open chunk, which it must have.
pub fn open_chunk_bytes(cold: &Cold) -> usize {
    COUNT_BYTES + usize::from(cold.open_len)
}

/// The window of a time, if windows are numbered so far.
pub fn window_of(t_ms: TimestampMs, length_ms: i64) -> Option<WindowNo> {
    let window = WindowNo::try_from(t_ms.div_euclid(length_ms)).ok()?;
    (window != NO_WINDOW).then_some(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_over_the_slots_and_no_tail_outgrows_its_place() {
        let slots = 0..SLOTS_A_TURN * TAIL as u32 * 3;
        let mut encoded = vec![0u8; slots.len()];
        for samples in 1..=CHUNK_SAMPLES {
            let mut turns = 0;
            for (slot, encoded) in slots.clone().zip(&mut encoded) {
                assert!(usize::from(samples - *encoded) <= TAIL, "slot {slot} at {samples}");
                if is_turn(slot, samples) {
                    *encoded = samples;
                    turns += 1;
                }
            }
            let expected = if samples == CHUNK_SAMPLES { slots.len() } else { slots.len() / TAIL };
            assert_eq!(turns, expected, "at {samples} samples");
        }
    }
}
