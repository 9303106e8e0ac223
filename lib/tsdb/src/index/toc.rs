//! The table of contents: the last 52 bytes of an index.

use super::{MAGIC, VERSION};
use crate::chunkenc::Malformed;
use crate::decbuf::{Decbuf, checksum_holds};

/// Size of the table with its checksum.
pub const TOC_BYTES: usize = 6 * 8 + 4;

/// Where the parts of an index begin; 0 = absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the parts' names
pub struct Toc {
    pub symbols: u64,
    pub series: u64,
    /// End of the series part; label indices themselves are no longer written.
    pub label_indices: u64,
    pub label_index_table: u64,
    pub postings: u64,
    pub postings_table: u64,
}

impl Toc {
    /// Checks magic and version of `index` and reads its table.
    ///
    /// # Errors
    /// [`Malformed`] when they are not an index's, the checksum differs, or a part lies outside.
    pub fn read(index: &[u8]) -> Result<Toc, Malformed> {
        let mut head = Decbuf::new(index);
        if head.be_u32()? != MAGIC {
            return Err(Malformed { what: "not an index: wrong magic number", at: 0 });
        }
        if !matches!(head.take(1)?[0], 2 | 3) {
            return Err(Malformed { what: "unsupported index version", at: 4 });
        }
        let start =
            index.len().checked_sub(TOC_BYTES).ok_or(Malformed { what: "ends early", at: index.len() })?;
        let toc = Self::parse(&index[start..]).map_err(|m| m.shifted(start))?;
        let parts = [toc.symbols, toc.series, toc.label_indices, toc.postings, toc.postings_table];
        if parts.iter().any(|p| *p > start as u64) || toc.series > toc.label_indices {
            return Err(Malformed { what: "table of contents points outside the index", at: start });
        }
        Ok(toc)
    }

    /// Reads the table from its own bytes.
    ///
    /// # Errors
    /// [`Malformed`] when there are too few bytes or the checksum differs.
    pub fn parse(bytes: &[u8]) -> Result<Toc, Malformed> {
        let mut d = Decbuf::new(bytes);
        let toc = Toc {
            symbols: d.be_u64()?,
            series: d.be_u64()?,
            label_indices: d.be_u64()?,
            label_index_table: d.be_u64()?,
            postings: d.be_u64()?,
            postings_table: d.be_u64()?,
        };
        let body = d.pos();
        if !checksum_holds(d.be_u32()?, &bytes[..body]) {
            return Err(Malformed { what: "checksum mismatch in the table of contents", at: 0 });
        }
        Ok(toc)
    }

    /// The table's bytes.
    pub fn to_bytes(self) -> [u8; TOC_BYTES] {
        let mut out = [0; TOC_BYTES];
        let parts = [
            self.symbols,
            self.series,
            self.label_indices,
            self.label_index_table,
            self.postings,
            self.postings_table,
        ];
        for (slot, part) in out.chunks_exact_mut(8).zip(parts) {
            slot.copy_from_slice(&part.to_be_bytes());
        }
        let crc = crc32c::crc32c(&out[..TOC_BYTES - 4]);
        out[TOC_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// The bytes that every index begins with.
    pub fn file_header() -> [u8; 5] {
        let m = MAGIC.to_be_bytes();
        [m[0], m[1], m[2], m[3], VERSION]
    }
}
