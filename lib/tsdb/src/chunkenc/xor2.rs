//! XOR2 chunks (encoding 4): floats with start timestamps, one joint control for time and value, and stale
//! markers that leave the XOR baseline alone. Thanos cannot read them, so they are written only on request.
//! Layout: docs/formats/block.md.

use cairn_model::sample::STALE_NAN_BITS;
use cairn_model::{TimestampMs, is_stale};

use super::Malformed;
use super::bits::{BitReader, BitWriter, low_bits};
use super::varbit::{XorWindow, read_int, write_int};

/// Bytes before the bit stream: the number of samples and the start-timestamp header.
const HEADER_BYTES: usize = 3;

/// Header bit: the first sample has a start timestamp.
const FIRST_START_KNOWN: u8 = 0x80;

/// Last sample index that the header can name as the first with its own start timestamp; from it on every sample
/// has one, so that a later change needs no name.
const MAX_START_CHANGE: u16 = 0x7f;

/// Extends an XOR2 chunk. The bytes are the caller's.
#[derive(Debug, Clone, Copy)]
pub struct Xor2Appender {
    t: TimestampMs,
    t_delta: i64,
    /// Last value that was not a stale marker.
    baseline: u64,
    window: XorWindow,
    start: TimestampMs,
    /// Time of the sample before minus start timestamp, as last written.
    start_diff: i64,
    /// First sample with its own start timestamp, 0 = none yet.
    start_changed_on: u16,
    free_bits: u8,
    samples: u16,
}

impl Xor2Appender {
    /// Begins a chunk at the end of `out`, which must be empty.
    pub fn start(out: &mut Vec<u8>) -> Self {
        debug_assert!(out.is_empty());
        out.extend_from_slice(&[0; HEADER_BYTES]);
        Xor2Appender {
            t: 0,
            t_delta: 0,
            baseline: 0,
            window: XorWindow::NONE,
            start: 0,
            start_diff: 0,
            start_changed_on: 0,
            free_bits: 0,
            samples: 0,
        }
    }

    /// How many samples the chunk has.
    pub fn samples(&self) -> usize {
        usize::from(self.samples)
    }

    /// Appends one sample; `start_ms` 0 means unknown.
    ///
    /// # Panics
    /// When the chunk would exceed 65,535 samples.
    pub fn append(&mut self, out: &mut Vec<u8>, t_ms: TimestampMs, start_ms: TimestampMs, value: f64) {
        let total =
            self.samples.checked_add(1).expect("a chunk holds at most 65,535 samples: callers cut far below");
        let mut w = BitWriter::resume(out, u32::from(self.free_bits));
        let mut header = 0;
        let delta = t_ms.wrapping_sub(self.t);
        match self.samples {
            0 => {
                w.write_varint(t_ms);
                w.write(value.to_bits(), 64);
                if start_ms != 0 {
                    w.write_varint(t_ms.wrapping_sub(start_ms));
                    header = FIRST_START_KNOWN;
                }
            }
            1 => {
                w.write_uvarint(delta as u64);
                self.write_value(&mut w, value);
                header = self.write_start(&mut w, start_ms);
                self.t_delta = delta;
            }
            _ => {
                self.write_joint(&mut w, delta.wrapping_sub(self.t_delta), value);
                header = self.write_start(&mut w, start_ms);
                self.t_delta = delta;
            }
        }
        self.free_bits = w.finish() as u8;
        if !is_stale(value) {
            self.baseline = value.to_bits();
        }
        (self.t, self.start, self.samples) = (t_ms, start_ms, total);
        out[..2].copy_from_slice(&total.to_be_bytes());
        out[2] |= header;
    }

    /// Writes the start timestamp if this sample carries one; gives the header bits that follow from it.
    fn write_start(&mut self, w: &mut BitWriter<'_>, start_ms: TimestampMs) -> u8 {
        let diff = self.t.wrapping_sub(start_ms);
        if self.start_changed_on > 0 {
            write_int(w, diff.wrapping_sub(self.start_diff));
            self.start_diff = diff;
            return 0;
        }
        if start_ms == self.start && self.samples != MAX_START_CHANGE {
            return 0;
        }
        write_int(w, diff);
        self.start_diff = diff;
        self.start_changed_on = self.samples;
        self.samples as u8
    }

    fn write_joint(&mut self, w: &mut BitWriter<'_>, dod: i64, value: f64) {
        let delta = value.to_bits() ^ self.baseline;
        if dod == 0 {
            if is_stale(value) {
                return w.write(0b11111, 5);
            }
            if delta == 0 {
                return w.write(0, 1);
            }
            return self.write_changed(w, delta, (0b100, 3), (0b101, 3));
        }
        if (-(1 << 12)..1 << 12).contains(&dod) {
            w.write(0b110 << 13 | dod as u64 & low_bits(13), 16);
        } else if (-(1 << 19)..1 << 19).contains(&dod) {
            w.write(0b1110 << 20 | dod as u64 & low_bits(20), 24);
        } else {
            w.write(0b11110, 5);
            w.write(dod as u64, 64);
        }
        self.write_value(w, value);
    }

    fn write_value(&mut self, w: &mut BitWriter<'_>, value: f64) {
        if is_stale(value) {
            return w.write(0b111, 3);
        }
        let delta = value.to_bits() ^ self.baseline;
        if delta == 0 {
            return w.write(0, 1);
        }
        self.write_changed(w, delta, (0b10, 2), (0b110, 3));
    }

    /// Writes a value that changed, after the control bits for reusing the window or for a new one.
    fn write_changed(&mut self, w: &mut BitWriter<'_>, delta: u64, reuse: (u64, u32), renew: (u64, u32)) {
        let exact = XorWindow::around(delta);
        if self.window.holds(exact) {
            w.write(reuse.0, reuse.1);
        } else {
            self.window = exact;
            w.write(renew.0, renew.1);
            exact.write(w);
        }
        w.write(self.window.extract(delta), self.window.bits());
    }
}

/// Reads an XOR2 chunk sample by sample.
#[derive(Debug, Clone)]
pub struct Xor2Reader<'a> {
    r: BitReader<'a>,
    samples: u16,
    read: u16,
    first_start_known: bool,
    start_changed_on: u16,
    t: TimestampMs,
    t_delta: i64,
    baseline: u64,
    window: XorWindow,
    start: TimestampMs,
    start_diff: i64,
}

impl<'a> Xor2Reader<'a> {
    /// Reads the header of `chunk`.
    ///
    /// # Errors
    /// [`Malformed`] when the chunk is shorter than its sample count needs.
    pub fn new(chunk: &'a [u8]) -> Result<Self, Malformed> {
        let (header, stream) = chunk
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Malformed { what: "chunk without a header", at: chunk.len() })?;
        let samples = u16::from_be_bytes([header[0], header[1]]);
        // The first sample takes 9 bytes, the second 9 bits, any other at least one bit.
        if samples > 0 && stream.len() * 8 < 71 + usize::from(samples) {
            return Err(Malformed { what: "chunk is too short for its sample count", at: chunk.len() });
        }
        Ok(Xor2Reader {
            r: BitReader::new(stream),
            samples,
            read: 0,
            first_start_known: header[2] & FIRST_START_KNOWN != 0,
            start_changed_on: u16::from(header[2] & !FIRST_START_KNOWN),
            t: 0,
            t_delta: 0,
            baseline: 0,
            window: XorWindow::ALL,
            start: 0,
            start_diff: 0,
        })
    }

    /// Samples not read yet.
    pub fn remaining(&self) -> usize {
        usize::from(self.samples - self.read)
    }

    /// The next `(t, start, value)`; `None` after the last.
    ///
    /// # Errors
    /// [`Malformed`] when the stream ends early or describes an impossible window.
    pub fn read(&mut self) -> Result<Option<(TimestampMs, TimestampMs, f64)>, Malformed> {
        if self.read == self.samples {
            return Ok(None);
        }
        let row = self.read_row().map_err(|m| m.shifted(HEADER_BYTES))?;
        Ok(Some(row))
    }

    fn read_row(&mut self) -> Result<(TimestampMs, TimestampMs, f64), Malformed> {
        let t_before = self.t;
        let bits = match self.read {
            0 => {
                self.t = self.r.read_varint()?;
                let bits = self.r.read(64)?;
                if bits != STALE_NAN_BITS {
                    self.baseline = bits;
                }
                if self.first_start_known {
                    self.start = self.t.wrapping_sub(self.r.read_varint()?);
                }
                bits
            }
            1 => {
                self.t_delta = self.r.read_uvarint()? as i64;
                self.read_value()?
            }
            _ => self.read_joint()?,
        };
        if self.read > 0 {
            self.t = self.t.wrapping_add(self.t_delta);
            if self.start_changed_on > 0 && self.read >= self.start_changed_on {
                let d = read_int(&mut self.r)?;
                let first = self.read == self.start_changed_on;
                self.start_diff = if first { d } else { self.start_diff.wrapping_add(d) };
                self.start = t_before.wrapping_sub(self.start_diff);
            }
        }
        self.r.check()?;
        self.read += 1;
        Ok((self.t, self.start, f64::from_bits(bits)))
    }

    /// Reads control, delta of deltas and value; gives the value's bits.
    fn read_joint(&mut self) -> Result<u64, Malformed> {
        let ones = (!self.r.peek()).leading_zeros().min(5);
        self.r.skip((ones + 1).min(5));
        let payload = match ones {
            0 => return Ok(self.baseline),
            1 => return self.read_changed(1),
            2 => 13,
            3 => 20,
            4 => 64,
            _ => return Ok(STALE_NAN_BITS),
        };
        let raw = self.r.take(payload);
        let dod = (raw << (64 - payload)) as i64 >> (64 - payload);
        self.t_delta = self.t_delta.wrapping_add(dod);
        self.read_value()
    }

    fn read_value(&mut self) -> Result<u64, Malformed> {
        match (!self.r.peek()).leading_zeros() {
            0 => {
                self.r.skip(1);
                Ok(self.baseline)
            }
            1 => self.read_changed_in(2, false),
            2 => self.read_changed_in(3, true),
            _ => {
                self.r.skip(3);
                Ok(STALE_NAN_BITS)
            }
        }
    }

    /// A value known to have changed: one control bit says whether a new window comes.
    fn read_changed(&mut self, control_bits: u32) -> Result<u64, Malformed> {
        let new_window = self.r.peek() >> 63 == 1;
        self.read_changed_in(control_bits, new_window)
    }

    fn read_changed_in(&mut self, control_bits: u32, new_window: bool) -> Result<u64, Malformed> {
        self.r.skip(control_bits);
        if new_window {
            self.window = XorWindow::from_description(self.r.take(11))
                .ok_or_else(|| self.r.malformed("XOR window of more than 64 bits"))?;
        }
        self.baseline ^= self.window.place(self.r.take(self.window.bits()));
        Ok(self.baseline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunkenc::test_data::float_columns;
    use cairn_model::sample::stale_nan;
    use proptest::prelude::*;

    fn encode(rows: &[(i64, i64, f64)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut appender = Xor2Appender::start(&mut out);
        for (t, start, v) in rows {
            appender.append(&mut out, *t, *start, *v);
        }
        assert_eq!(appender.samples(), rows.len());
        out
    }

    fn decode(chunk: &[u8]) -> Vec<(i64, i64, u64)> {
        let mut r = Xor2Reader::new(chunk).unwrap();
        let mut out = Vec::new();
        while let Some((t, start, v)) = r.read().unwrap() {
            out.push((t, start, v.to_bits()));
        }
        out
    }

    #[test]
    fn a_constant_series_takes_a_bit_a_sample_and_a_stale_marker_five() {
        let mut rows: Vec<_> = (0..100).map(|i| (i * 15_000, 0, 1.0)).collect();
        // t0 (1 B) + v0 (8 B) + delta (2 B) + 1 bit + 98 bits
        assert_eq!(encode(&rows).len(), 3 + 11 + (1 + 98usize).div_ceil(8));
        rows.push((100 * 15_000, 0, stale_nan()));
        rows.push((101 * 15_000, 0, 1.0));
        assert_eq!(encode(&rows).len(), 3 + 11 + (1 + 98 + 5 + 1usize).div_ceil(8));
    }

    #[test]
    fn header_names_the_first_changed_start_and_never_more_than_127() {
        let constant: Vec<_> = (0..200).map(|i| (1000 + i * 10, 500, 1.0)).collect();
        assert_eq!(encode(&constant)[2], 0x80 | 127);
        assert_eq!(encode(&constant[..100])[2], 0x80);
        let mut late = constant.clone();
        late[150].1 = 900;
        assert_eq!(encode(&late)[2], 0x80 | 127);
        let from_third: Vec<_> = (0..9).map(|i| (1000 + i * 10, if i < 2 { 0 } else { 7 }, 1.0)).collect();
        assert_eq!(encode(&from_third)[2], 2);
    }

    proptest! {
        #[test]
        fn rows_round_trip(columns in float_columns(300), starts in prop::collection::vec((any::<i64>(), 1usize..200), 1..4)) {
            let (t, v) = columns;
            let starts = starts.into_iter().flat_map(|(s, n)| std::iter::repeat_n(s, n)).chain(std::iter::repeat(0));
            let rows: Vec<_> = t.into_iter().zip(starts).zip(v).map(|((t, s), v)| (t, s, v)).collect();
            let want: Vec<_> = rows.iter().map(|(t, s, v)| (*t, *s, v.to_bits())).collect();
            prop_assert_eq!(decode(&encode(&rows)), want);
        }
    }
}
