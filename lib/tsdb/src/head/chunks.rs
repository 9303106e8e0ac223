//! Where the float samples of a series go when they leave its tail: the open chunk, then the full ones.
//!
//! The open chunk lies in a chain of pieces, without the count that begins it; its encoder's state lies in [`Cold`], so
//! encoding a tail decodes nothing and touches the last piece only. A chunk ends with 140 to 147 samples, at the edge of its
//! window, or when it is long.
//!
//! Series begin their windows together. So that they do not all encode, and end their chunks, in the same round of scrapes,
//! each encodes in a turn of its own ([`is_turn`]), and a window's first chunk has a length of its own
//! ([`FIRST_CHUNK_FROM`]). The memory of open chunks is then about the same at all times, and full ones come evenly. Chunks
//! are a little longer than Prometheus', so that a window of two hours has hardly more of them.
//!
//! Invariant: main chunks of a series lie in one window each and are strictly rising in time.
//!
//! This is a hot file: encoding a tail allocates nothing but regions of chains.

use cairn_model::{Encoding, TimestampMs};

use super::chains::{Chain, Chains};
use super::full::FullChunks;
use super::histogram::Closed;
use super::series::{Cold, FIRST_CHUNK, Hot, NO_WINDOW, TAIL, WindowNo};
use crate::chunkenc::XorAppender;

/// A chunk ends in the first turn from so many samples on. Prometheus aims at 120 and takes up to 240.
const CHUNK_FROM: u8 = 140;

/// The same of a window's first chunk, which is shorter by up to [`FIRST_STEPS`] − 1 times [`TAIL`].
const FIRST_CHUNK_FROM: u8 = CHUNK_FROM - (FIRST_STEPS - 1) * TAIL as u8;

/// Lengths that first chunks have: so many that ends of chunks are spread over all rounds.
const FIRST_STEPS: u8 = 17;

/// Samples of a chunk at most.
pub const MAX_CHUNK_SAMPLES: u8 = CHUNK_FROM + TAIL as u8 - 1;

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
        if s.hot.encoded >= full_from(s.slot, s.hot.flags)
            || usize::from(s.cold.open_len) + MAX_TAIL_BYTES > MAX_OPEN_BYTES
        {
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
        s.hot.flags &= !FIRST_CHUNK;
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
    u32::from(samples) % TAIL as u32 == slot / SLOTS_A_TURN % TAIL as u32
}

/// Samples from which on an encoded chunk is full; such a chunk ends with less than [`TAIL`] more.
fn full_from(slot: u32, flags: u8) -> u8 {
    if flags & FIRST_CHUNK == 0 {
        return CHUNK_FROM;
    }
    let step = slot / (SLOTS_A_TURN * TAIL as u32) % u32::from(FIRST_STEPS);
    FIRST_CHUNK_FROM + step as u8 * TAIL as u8
}

/// Slots that encode in the same round. Judgement: neighbours share the branch and the pieces they touch.
const SLOTS_A_TURN: u32 = 16;

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
        for samples in 1..=MAX_CHUNK_SAMPLES {
            let mut turns = 0;
            for (slot, encoded) in slots.clone().zip(&mut encoded) {
                assert!(usize::from(samples - *encoded) <= TAIL, "slot {slot} at {samples}");
                if is_turn(slot, samples) {
                    *encoded = samples;
                    turns += 1;
                }
            }
            assert_eq!(turns, slots.len() / TAIL, "at {samples} samples");
        }
    }

    /// Lengths of a series' chunks in a window of so many samples.
    fn lengths(slot: u32, window: usize) -> Vec<u8> {
        let (mut lengths, mut flags, mut samples) = (Vec::new(), FIRST_CHUNK, 0);
        for _ in 0..window {
            samples += 1;
            if is_turn(slot, samples) && samples >= full_from(slot, flags) {
                lengths.push(samples);
                (flags, samples) = (0, 0);
            }
        }
        lengths.extend((samples > 0).then_some(samples));
        lengths
    }

    /// Samples in the open chunk after `n` of a window.
    fn open_after(lengths: &[u8], n: usize) -> usize {
        let mut ended = 0;
        for length in lengths {
            if ended + usize::from(*length) > n {
                break;
            }
            ended += usize::from(*length);
        }
        n - ended
    }

    #[test]
    fn ends_of_chunks_are_spread_over_the_slots_and_chunks_are_hardly_more_than_with_120_samples() {
        let period = SLOTS_A_TURN * TAIL as u32 * u32::from(FIRST_STEPS);
        // Two hours at 15, 10 and 5 s.
        for window in [480, 720, 1440] {
            let all: Vec<Vec<u8>> = (0..period).map(|slot| lengths(slot, window)).collect();
            assert!(all.iter().flatten().all(|n| *n <= MAX_CHUNK_SAMPLES));
            let chunks: usize = all.iter().map(Vec::len).sum();
            assert!(chunks * 10 <= window.div_ceil(120) * all.len() * 11, "{chunks} of {window}");
            let firsts = |n: u8| all.iter().filter(|lengths| lengths[0] == n).count();
            let lengths = (FIRST_CHUNK_FROM..=MAX_CHUNK_SAMPLES).map(firsts);
            assert!(lengths.into_iter().all(|n| n == SLOTS_A_TURN as usize), "evenly");
            let open: Vec<usize> = (1..=window).map(|n| all.iter().map(|l| open_after(l, n)).sum()).collect();
            let most = open[window / 4..].iter().max().unwrap();
            assert!(
                most * 10 <= open[window / 4] * 12,
                "{most} samples in open chunks after {}",
                open[window / 4]
            );
        }
    }
}
