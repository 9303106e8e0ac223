//! Byte-wise reading and writing of index, tombstones and chunk segments: big-endian integers, LEB128, strings
//! with a length, sections with a checksum.
//!
//! Invariant: [`Decbuf`] reads inside its slice only, and every count it gives can be checked against what is
//! left before memory is reserved for it.

use crate::chunkenc::Malformed;
use crate::chunkenc::bits::{unzigzag, zigzag};

/// Reads a byte slice from front to back.
#[derive(Debug, Clone, Copy)]
pub struct Decbuf<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl<'a> Decbuf<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Decbuf { bytes, pos: 0 }
    }

    /// Starts at `pos`, which may lie past the end: then every read fails.
    pub fn at(bytes: &'a [u8], pos: usize) -> Self {
        Decbuf { bytes, pos }
    }

    /// Where the next read begins.
    pub fn pos(&self) -> usize {
        self.pos
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.pos)
    }

    /// The next `n` bytes.
    ///
    /// # Errors
    /// [`Malformed`] when fewer are left.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let end = self.pos.checked_add(n).ok_or_else(|| self.fault("length out of range"))?;
        let taken = self.bytes.get(self.pos..end).ok_or_else(|| self.fault("ends early"))?;
        self.pos = end;
        Ok(taken)
    }

    /// A big-endian `u32`.
    ///
    /// # Errors
    /// As [`Decbuf::take`].
    pub fn be_u32(&mut self) -> Result<u32, Malformed> {
        let b = self.take(4)?;
        Ok(u32::from_be_bytes(b.try_into().expect("four bytes were taken")))
    }

    /// A big-endian `u64`.
    ///
    /// # Errors
    /// As [`Decbuf::take`].
    pub fn be_u64(&mut self) -> Result<u64, Malformed> {
        let b = self.take(8)?;
        Ok(u64::from_be_bytes(b.try_into().expect("eight bytes were taken")))
    }

    /// LEB128.
    ///
    /// # Errors
    /// [`Malformed`] when it ends early or overflows 64 bits.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u64, Malformed> {
        // Most lengths and symbols of an index take one byte.
        match self.bytes.get(self.pos) {
            Some(&byte) if byte < 0x80 => {
                self.pos += 1;
                Ok(u64::from(byte))
            }
            _ => self.long_uvarint(),
        }
    }

    fn long_uvarint(&mut self) -> Result<u64, Malformed> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            v |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(v);
            }
        }
        Err(self.fault("varint overflows 64 bits"))
    }

    /// Zig-zag LEB128.
    ///
    /// # Errors
    /// As [`Decbuf::uvarint`].
    pub fn varint(&mut self) -> Result<i64, Malformed> {
        Ok(unzigzag(self.uvarint()?))
    }

    /// A LEB128 length that must fit in what is left, each unit taking `unit` bytes at least.
    ///
    /// # Errors
    /// [`Malformed`] when it does not fit.
    #[inline]
    pub fn count(&mut self, unit: usize) -> Result<usize, Malformed> {
        let n = self.uvarint()?;
        if n > (self.remaining() / unit) as u64 {
            return Err(self.fault("count larger than what follows"));
        }
        Ok(n as usize)
    }

    /// A string with a LEB128 length.
    ///
    /// # Errors
    /// [`Malformed`] when it ends early or is not UTF-8.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        let n = self.count(1)?;
        let at = self.pos;
        std::str::from_utf8(self.take(n)?).map_err(|_| Malformed { what: "text is not UTF-8", at })
    }

    /// An error at the current position.
    #[cold]
    pub fn fault(&self, what: &'static str) -> Malformed {
        Malformed { what, at: self.pos }
    }
}

/// Appends LEB128.
pub fn put_uvarint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends zig-zag LEB128.
pub fn put_varint(out: &mut Vec<u8>, v: i64) {
    put_uvarint(out, zigzag(v));
}

/// Appends a string with its length.
pub fn put_str(out: &mut Vec<u8>, s: &str) {
    put_uvarint(out, s.len() as u64);
    out.extend_from_slice(s.as_bytes());
}

/// Whether `bytes` have the CRC32C `stored`. A build for coverage-guided fuzzing takes any: no mutation would get past a
/// checksum, and what lies behind it would never be tried.
#[inline]
pub fn checksum_holds(stored: u32, bytes: &[u8]) -> bool {
    cfg!(fuzzing) || crc32c::crc32c(bytes) == stored
}

/// The body of the section `u32 len | body | u32 CRC` at `offset`, and where the body begins.
///
/// # Errors
/// [`Malformed`] with positions in `file` when it leaves the file or its checksum differs.
pub fn section(file: &[u8], offset: u64) -> Result<(&[u8], usize), Malformed> {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut d = Decbuf::at(file, start);
    let len = d.be_u32()? as usize;
    let begin = d.pos();
    let body = d.take(len)?;
    let stored = d.be_u32()?;
    if !checksum_holds(stored, body) {
        return Err(Malformed { what: "checksum mismatch", at: begin });
    }
    Ok((body, begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn values_round_trip(u in any::<u64>(), i in any::<i64>(), s in ".{0,300}") {
            let mut out = Vec::new();
            put_uvarint(&mut out, u);
            put_varint(&mut out, i);
            put_str(&mut out, &s);
            let mut d = Decbuf::new(&out);
            prop_assert_eq!(d.uvarint().unwrap(), u);
            prop_assert_eq!(d.varint().unwrap(), i);
            prop_assert_eq!(d.str().unwrap(), s);
            prop_assert_eq!(d.remaining(), 0);
        }

        #[test]
        fn arbitrary_bytes_never_panic(b in prop::collection::vec(any::<u8>(), 0..40), at in any::<usize>()) {
            let mut d = Decbuf::at(&b, at);
            let _ = (d.uvarint(), d.varint(), d.str(), d.be_u32(), d.be_u64(), d.count(4));
            let _ = section(&b, at as u64);
        }
    }
}
