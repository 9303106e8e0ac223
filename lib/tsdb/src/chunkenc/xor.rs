//! XOR chunks (encoding 1): floats as deltas of deltas of time and XORs of neighbours.
//!
//! [`XorAppender`] extends a chunk by columns of samples, so that a series' raw tail is encoded in one go;
//! [`decode`] turns a chunk into columns. Layout: docs/formats/block.md.
//!
//! Invariant: the bytes are Prometheus' to the bit, after every append.
//!
//! This is a hot file: decoding allocates only the growth of the caller's vectors.

use cairn_model::TimestampMs;

use super::Malformed;
use super::bits::{BitReader, BitWriter, PEEK_BITS, low_bits};
use super::varbit::{XorWindow, extend_asymmetric, write_xor};

/// Bytes before the bit stream: the number of samples.
const HEADER_BYTES: usize = 2;

/// Payload bits of a delta of deltas by the number of ones in its prefix.
const DOD_BITS: [u32; 5] = [0, 14, 17, 20, 64];

/// Extends an XOR chunk. The state is small and plain; the bytes are the caller's.
#[derive(Debug, Clone, Copy)]
pub struct XorAppender {
    t: TimestampMs,
    t_delta: i64,
    value_bits: u64,
    window: XorWindow,
    /// Unused bits in the last byte.
    free_bits: u8,
    samples: u16,
}

impl XorAppender {
    /// Bytes of an appender at rest.
    pub const STATE_BYTES: usize = 29;

    /// Before any chunk was begun.
    pub const NONE: XorAppender =
        XorAppender { t: 0, t_delta: 0, value_bits: 0, window: XorWindow::NONE, free_bits: 0, samples: 0 };

    /// Begins a chunk at the end of `out`, which must be empty.
    pub fn start(out: &mut Vec<u8>) -> Self {
        debug_assert!(out.is_empty());
        out.extend_from_slice(&[0; HEADER_BYTES]);
        Self::NONE
    }

    /// Takes up a chunk that someone else wrote, by decoding it.
    ///
    /// # Errors
    /// [`Malformed`] when `chunk` is not a whole XOR chunk.
    pub fn reopen(chunk: &mut Vec<u8>) -> Result<Self, Malformed> {
        let (mut t, mut v) = (Vec::new(), Vec::new());
        decode(chunk, &mut t, &mut v)?;
        chunk.clear();
        let mut appender = XorAppender::start(chunk);
        appender.append(chunk, &t, &v);
        Ok(appender)
    }

    /// Appends the state to `out`, [`XorAppender::STATE_BYTES`] of it, for [`XorAppender::from_state`].
    pub fn put_state(&self, out: &mut Vec<u8>) {
        for word in [self.t as u64, self.t_delta as u64, self.value_bits] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.window.to_bytes());
        out.push(self.free_bits);
        out.extend_from_slice(&self.samples.to_le_bytes());
    }

    /// The appender of a state at rest; `None` when no appender has it. That it belongs to the chunk it is used with is
    /// the caller's to know.
    pub fn from_state(state: &[u8; Self::STATE_BYTES]) -> Option<Self> {
        let word = |i: usize| u64::from_le_bytes(state[i..i + 8].try_into().expect("eight bytes"));
        let appender = XorAppender {
            t: word(0) as i64,
            t_delta: word(8) as i64,
            value_bits: word(16),
            window: XorWindow::from_bytes([state[24], state[25]])?,
            free_bits: state[26],
            samples: u16::from_le_bytes([state[27], state[28]]),
        };
        (appender.free_bits < 8).then_some(appender)
    }

    /// How many samples the chunk has.
    pub fn samples(&self) -> usize {
        usize::from(self.samples)
    }

    /// Time of the last sample; 0 before the first.
    pub fn last_ms(&self) -> TimestampMs {
        self.t
    }

    /// The last value's bits; 0 before the first.
    pub fn last_bits(&self) -> u64 {
        self.value_bits
    }

    /// Appends columns of equal length to the chunk in `out`, which is a whole chunk before and after. Times
    /// should increase; any times round-trip.
    ///
    /// # Panics
    /// When the columns differ in length or the chunk would exceed 65,535 samples.
    pub fn append(&mut self, out: &mut Vec<u8>, t_ms: &[TimestampMs], values: &[f64]) {
        assert_eq!(t_ms.len(), values.len(), "columns of one series have one length");
        let total = self.samples() + t_ms.len();
        let total =
            u16::try_from(total).expect("a chunk holds at most 65,535 samples: callers cut far below");
        let mut w = BitWriter::resume(out, u32::from(self.free_bits));
        for (&t, &v) in t_ms.iter().zip(values) {
            let bits = v.to_bits();
            match self.samples {
                0 => {
                    w.write_varint(t);
                    w.write(bits, 64);
                }
                1 => {
                    self.t_delta = t.wrapping_sub(self.t);
                    w.write_uvarint(self.t_delta as u64);
                    write_xor(&mut w, bits ^ self.value_bits, &mut self.window);
                }
                _ => {
                    let delta = t.wrapping_sub(self.t);
                    write_dod(&mut w, delta.wrapping_sub(self.t_delta));
                    self.t_delta = delta;
                    write_xor(&mut w, bits ^ self.value_bits, &mut self.window);
                }
            }
            self.t = t;
            self.value_bits = bits;
            self.samples += 1;
        }
        self.free_bits = w.finish() as u8;
        out[..HEADER_BYTES].copy_from_slice(&total.to_be_bytes());
    }
}

#[inline]
fn write_dod(w: &mut BitWriter<'_>, dod: i64) {
    let fits = |bits: u32| (-((1 << (bits - 1)) - 1)..=1 << (bits - 1)).contains(&dod);
    if dod == 0 {
        w.write(0, 1);
    } else if fits(14) {
        w.write(0b10 << 14 | dod as u64 & low_bits(14), 16);
    } else if fits(17) {
        w.write(0b110 << 17 | dod as u64 & low_bits(17), 20);
    } else if fits(20) {
        w.write(0b1110 << 20 | dod as u64 & low_bits(20), 24);
    } else {
        w.write(0b1111, 4);
        w.write(dod as u64, 64);
    }
}

/// Encodes columns as one chunk.
///
/// # Panics
/// As [`XorAppender::append`].
pub fn encode(t_ms: &[TimestampMs], values: &[f64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + 19 + t_ms.len() * 3);
    XorAppender::start(&mut out).append(&mut out, t_ms, values);
    out
}

/// Appends the samples of `chunk` to the columns. At 3 GHz about 3 to 5 ns a sample
/// (`cargo run --example codec_bench`).
///
/// # Errors
/// [`Malformed`] when the bytes are not a whole XOR chunk; the columns are then as before.
pub fn decode(chunk: &[u8], t_ms: &mut Vec<TimestampMs>, values: &mut Vec<f64>) -> Result<(), Malformed> {
    let (samples, stream) = split_header(chunk)?;
    let (t_start, v_start) = (t_ms.len(), values.len());
    t_ms.resize(t_start + samples, 0);
    values.resize(v_start + samples, 0.0);
    let decoded = decode_stream(stream, &mut t_ms[t_start..], &mut values[v_start..]);
    if decoded.is_err() {
        t_ms.truncate(t_start);
        values.truncate(v_start);
    }
    decoded.map_err(|m| m.shifted(HEADER_BYTES))
}

/// The number of samples that the header claims, checked against the least size of a sample, and the stream.
fn split_header(chunk: &[u8]) -> Result<(usize, &[u8]), Malformed> {
    let (header, stream) = chunk
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(Malformed { what: "chunk without a sample count", at: chunk.len() })?;
    let samples = usize::from(u16::from_be_bytes(*header));
    // The first sample takes 9 bytes, the second 9 bits, any other 2 bits at least.
    if samples > 0 && stream.len() * 8 < 72 + (samples - 1) * 2 {
        return Err(Malformed { what: "chunk is too short for its sample count", at: chunk.len() });
    }
    Ok((samples, stream))
}

fn decode_stream(stream: &[u8], t_ms: &mut [TimestampMs], values: &mut [f64]) -> Result<(), Malformed> {
    let mut r = BitReader::new(stream);
    let mut rows = t_ms.iter_mut().zip(values);
    let Some((t_out, v_out)) = rows.next() else { return Ok(()) };
    let mut t = r.read_varint()?;
    let mut bits = r.read(64)?;
    (*t_out, *v_out) = (t, f64::from_bits(bits));
    let Some((t_out, v_out)) = rows.next() else { return Ok(()) };
    let mut t_delta = r.read_uvarint()? as i64;
    t = t.wrapping_add(t_delta);
    let mut window = Window { bits: 64, trailing: 0 };
    let head = r.peek();
    bits ^= read_value(&mut r, head, 0, &mut window)?;
    (*t_out, *v_out) = (t, f64::from_bits(bits));

    for (t_out, v_out) in rows {
        let mut head = r.peek();
        let mut used = 1;
        if head >> 63 == 1 {
            let ones = (!head).leading_zeros().min(4);
            let payload = DOD_BITS[ones as usize];
            let dod = if ones < 4 {
                used = ones + 1 + payload;
                extend_asymmetric(head >> (64 - used) & low_bits(payload), payload)
            } else {
                r.skip(4);
                let dod = r.take(64) as i64;
                head = r.peek();
                used = 0;
                dod
            };
            t_delta = t_delta.wrapping_add(dod);
        }
        t = t.wrapping_add(t_delta);
        bits ^= read_value(&mut r, head << used, used, &mut window)?;
        (*t_out, *v_out) = (t, f64::from_bits(bits));
    }
    Ok(())
}

/// An XOR window in the form in which it is used.
#[derive(Clone, Copy)]
struct Window {
    bits: u32,
    trailing: u32,
}

/// Reads the XOR of a value. Its control bits stand at the top of `head`, `used` ≤ 24 bits after the reader's
/// position: one load serves time and value of most samples. Whether a window is new is as good as random in
/// real counters, so that choice is made without a branch.
#[inline]
fn read_value(r: &mut BitReader<'_>, head: u64, used: u32, window: &mut Window) -> Result<u64, Malformed> {
    if head >> 63 == 0 {
        r.skip(used + 1);
        r.check()?;
        return Ok(0);
    }
    let renew = head >> 62 & 1 == 1;
    let leading = (head >> 57 & 31) as u32;
    let bits = ((head >> 51).wrapping_sub(1) & 63) as u32 + 1; // 0 stands for 64
    let trailing = 64u32.wrapping_sub(leading + bits);
    let control = if renew { 13 } else { 2 };
    window.bits = if renew { bits } else { window.bits };
    window.trailing = if renew { trailing } else { window.trailing };
    if window.trailing > 63 {
        return Err(r.malformed("XOR window of more than 64 bits"));
    }
    let n = window.bits;
    let significant = if used + control + n <= PEEK_BITS {
        r.skip(used + control + n);
        head << control >> (64 - n)
    } else {
        r.skip(used + control);
        r.take(n)
    };
    r.check()?;
    Ok(significant << window.trailing)
}

#[cfg(test)]
mod tests;
