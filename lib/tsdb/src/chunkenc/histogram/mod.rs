//! Histogram chunks: encodings 2 (integer counts) and 3 (float counts).
//!
//! All samples of a chunk share one bucket layout, written once. [`layout`] reads and writes it, [`spans`] is the
//! arithmetic of bucket sets, [`fit`] decides whether a sample goes into the open chunk, into a widened one, or
//! into a new one, [`counts`] holds what differs between integer and float counts, [`append`] writes and
//! [`decode`] reads. Layouts: docs/formats/block.md.
//!
//! Invariant: for the same samples the bytes and the cuts are Prometheus' to the bit.

pub mod append;
pub mod counts;
pub mod decode;
pub mod fit;
pub mod layout;
mod reduce;
pub mod spans;

pub use append::{Appended, HistogramAppender};
pub use counts::{FloatCounts, IntCounts};
pub use decode::HistogramReader;

/// Bytes before the bit stream: the number of samples and the flags.
pub(crate) const HEADER_BYTES: usize = 3;

/// What a chunk's flags say of the counter reset before its first sample; the top two bits of the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetHeader {
    /// Nothing is known.
    Unknown = 0b0000_0000,
    /// Surely no reset against the chunk before.
    NotReset = 0b0100_0000,
    /// A reset made this chunk.
    Reset = 0b1000_0000,
    /// Gauge histograms, which never reset.
    Gauge = 0b1100_0000,
}

impl ResetHeader {
    /// The header in a flags byte; its other bits are ignored.
    pub fn from_flags(flags: u8) -> Self {
        match flags >> 6 {
            0 => ResetHeader::Unknown,
            1 => ResetHeader::NotReset,
            2 => ResetHeader::Reset,
            _ => ResetHeader::Gauge,
        }
    }
}

#[cfg(test)]
mod tests;
