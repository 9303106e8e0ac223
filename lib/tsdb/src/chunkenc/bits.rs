//! Bit streams, most significant bit first, as all chunk encodings use them.
//!
//! [`BitWriter`] appends to a byte vector and can resume a stream that ended inside a byte. [`BitReader`] has two
//! styles: checked reads for headers and rare fields, and [`BitReader::peek`]/[`BitReader::skip`] for hot loops,
//! which read zeros past the end and let the caller ask [`BitReader::check`] once a sample.
//!
//! Invariant: the reader never touches bytes outside its slice, whatever its position.
//!
//! This is a hot file: nothing here allocates except the growth of the writer's vector.

use super::Malformed;

/// Valid bits of [`BitReader::peek`] at any position.
pub const PEEK_BITS: u32 = 57;

/// Appends bits to a vector.
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Pending bits, aligned to the top.
    acc: u64,
    /// How many bits of `acc` are pending, 0..=63.
    used: u32,
}

impl<'a> BitWriter<'a> {
    /// Starts at the next byte of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        BitWriter { out, acc: 0, used: 0 }
    }

    /// Goes on where an earlier writer finished with `free` unused bits (0..=7) in the last byte of `out`.
    pub fn resume(out: &'a mut Vec<u8>, free: u32) -> Self {
        debug_assert!(free < 8);
        if free == 0 {
            return Self::new(out);
        }
        let last = out.pop().expect("a stream with free bits in its last byte has a last byte");
        BitWriter { out, acc: u64::from(last) << 56, used: 8 - free }
    }

    /// Appends the low `n` bits of `value`, 1 ≤ n ≤ 64; the other bits of `value` must be 0.
    #[inline]
    pub fn write(&mut self, value: u64, n: u32) {
        debug_assert!((1..=64).contains(&n) && (n == 64 || value >> n == 0));
        let free = 64 - self.used;
        if n < free {
            self.acc |= value << (free - n);
            self.used += n;
        } else {
            let rest = n - free;
            self.out.extend_from_slice(&(self.acc | (value >> rest)).to_be_bytes());
            self.acc = if rest == 0 { 0 } else { value << (64 - rest) };
            self.used = rest;
        }
    }

    /// Appends the low `n` bits of a signed value.
    #[inline]
    pub fn write_signed(&mut self, value: i64, n: u32) {
        self.write(value as u64 & low_bits(n), n);
    }

    /// Appends one byte.
    pub fn write_byte(&mut self, byte: u8) {
        self.write(u64::from(byte), 8);
    }

    /// LEB128.
    pub fn write_uvarint(&mut self, mut v: u64) {
        while v >= 0x80 {
            self.write_byte(v as u8 | 0x80);
            v >>= 7;
        }
        self.write_byte(v as u8);
    }

    /// Zig-zag LEB128.
    pub fn write_varint(&mut self, v: i64) {
        self.write_uvarint(zigzag(v));
    }

    /// Pads the last byte with zeros and says how many of its bits are free (0..=7).
    pub fn finish(self) -> u32 {
        let bytes = self.used.div_ceil(8);
        self.out.extend_from_slice(&self.acc.to_be_bytes()[..bytes as usize]);
        bytes * 8 - self.used
    }
}

/// Reads bits from a slice.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    data: &'a [u8],
    /// Next bit.
    pos: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit of `data`.
    pub fn new(data: &'a [u8]) -> Self {
        BitReader { data, pos: 0 }
    }

    /// The next bits, aligned to the top. At least [`PEEK_BITS`] of them are valid; bits past the end are 0.
    #[inline]
    pub fn peek(&self) -> u64 {
        let byte = self.pos >> 3;
        let word = match self.data.get(byte..byte.wrapping_add(8)) {
            Some(b) => u64::from_be_bytes(b.try_into().expect("the range is 8 bytes long")),
            None => self.tail_word(byte),
        };
        word << (self.pos & 7)
    }

    #[cold]
    fn tail_word(&self, byte: usize) -> u64 {
        let mut word = [0u8; 8];
        if let Some(rest) = self.data.get(byte..) {
            let n = rest.len().min(8);
            word[..n].copy_from_slice(&rest[..n]);
        }
        u64::from_be_bytes(word)
    }

    /// Moves on by `n` bits, perhaps past the end.
    #[inline]
    pub fn skip(&mut self, n: u32) {
        self.pos += n as usize;
    }

    /// The next `n` bits (1..=64) in the low end, zeros past the end; moves on.
    #[inline]
    pub fn take(&mut self, n: u32) -> u64 {
        debug_assert!((1..=64).contains(&n));
        if n <= PEEK_BITS {
            let v = self.peek() >> (64 - n);
            self.skip(n);
            return v;
        }
        let high = self.peek() >> 32;
        self.skip(32);
        let low = self.peek() >> (96 - n);
        self.skip(n - 32);
        (high << (n - 32)) | low
    }

    /// Whether everything read so far lay inside the data.
    ///
    /// # Errors
    /// [`Malformed`] when it did not.
    #[inline]
    pub fn check(&self) -> Result<(), Malformed> {
        if self.pos <= self.data.len() * 8 { Ok(()) } else { Err(self.ends_early()) }
    }

    #[cold]
    fn ends_early(&self) -> Malformed {
        Malformed { what: "chunk ends inside a sample", at: self.data.len() }
    }

    /// Checked [`BitReader::take`].
    ///
    /// # Errors
    /// [`Malformed`] when fewer bits are left.
    pub fn read(&mut self, n: u32) -> Result<u64, Malformed> {
        let v = self.take(n);
        self.check()?;
        Ok(v)
    }

    /// LEB128.
    ///
    /// # Errors
    /// [`Malformed`] when it does not end or overflows 64 bits.
    pub fn read_uvarint(&mut self) -> Result<u64, Malformed> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.read(8)?;
            if shift == 63 && byte > 1 {
                break;
            }
            v |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(v);
            }
        }
        Err(self.malformed("varint overflows 64 bits"))
    }

    /// Zig-zag LEB128.
    ///
    /// # Errors
    /// As [`BitReader::read_uvarint`].
    pub fn read_varint(&mut self) -> Result<i64, Malformed> {
        Ok(unzigzag(self.read_uvarint()?))
    }

    /// Bits that are left.
    pub fn remaining_bits(&self) -> usize {
        (self.data.len() * 8).saturating_sub(self.pos)
    }

    /// An error at the current position.
    #[cold]
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.pos / 8 }
    }
}

/// A mask of the low `n` bits, 1 ≤ n ≤ 64.
#[inline]
pub fn low_bits(n: u32) -> u64 {
    u64::MAX >> (64 - n)
}

/// Signed to unsigned so that small magnitudes are small numbers.
pub fn zigzag(v: i64) -> u64 {
    ((v << 1) ^ (v >> 63)) as u64
}

/// Inverse of [`zigzag`].
pub fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back_as_written_across_resumes(
            fields in prop::collection::vec((any::<u64>(), 1u32..=64, any::<bool>()), 0..200),
        ) {
            let mut bytes = Vec::new();
            let mut free = 0;
            let mut w = BitWriter::new(&mut bytes);
            for (value, n, pause) in &fields {
                w.write(value & low_bits(*n), *n);
                if *pause {
                    free = w.finish();
                    w = BitWriter::resume(&mut bytes, free);
                }
            }
            let total: usize = fields.iter().map(|f| f.1 as usize).sum();
            let last = w.finish();
            prop_assert_eq!(bytes.len() * 8, total + last as usize);
            prop_assert!(free < 8);
            let mut r = BitReader::new(&bytes);
            for (value, n, _) in &fields {
                prop_assert_eq!(r.read(*n).unwrap(), value & low_bits(*n));
            }
            prop_assert!(r.remaining_bits() < 8);
        }

        #[test]
        fn varints_round_trip(v in any::<i64>(), u in any::<u64>(), lead in 1u32..8) {
            let mut bytes = Vec::new();
            let mut w = BitWriter::new(&mut bytes);
            w.write(1, lead);
            w.write_varint(v);
            w.write_uvarint(u);
            w.finish();
            let mut r = BitReader::new(&bytes);
            r.read(lead).unwrap();
            prop_assert_eq!(r.read_varint().unwrap(), v);
            prop_assert_eq!(r.read_uvarint().unwrap(), u);
        }
    }

    #[test]
    fn reads_past_the_end_are_refused() {
        let mut r = BitReader::new(&[0xff]);
        assert_eq!(r.read(8).unwrap(), 0xff);
        assert!(r.read(1).is_err());
        assert!(BitReader::new(&[0x80; 3]).read_uvarint().is_err());
        assert!(BitReader::new(&[0xff; 11]).read_uvarint().is_err());
    }
}
