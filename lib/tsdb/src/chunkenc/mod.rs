//! Chunk encodings: samples of one series as Prometheus stores them.
//!
//! In the order in which data meets them: [`ChunkBuilder`] takes samples and cuts chunks; it drives
//! [`XorAppender`] (encoding 1), [`Xor2Appender`] (4) or [`HistogramAppender`] (2 and 3); [`ChunkDecoder`] gives
//! samples back one by one, and [`decode_floats`] gives float chunks back as columns. Below them lie
//! [`bits`] and [`varbit`]. Layouts: docs/formats/block.md.
//!
//! Invariants: encodings 1, 2 and 3 are Prometheus' to the bit; every decoder takes any bytes without panicking
//! and allocates no more than a small multiple of their length.

pub mod bits;
mod builder;
mod decoder;
pub mod histogram;
pub mod varbit;
pub mod xor;
pub mod xor2;

pub use builder::{ChunkBuilder, CutRule};
pub use decoder::{ChunkDecoder, decode_floats, sample_count};
pub use histogram::{HistogramAppender, ResetHeader};
pub use xor::XorAppender;
pub use xor2::Xor2Appender;

#[cfg(test)]
pub(crate) mod test_data;

/// Bytes that are no chunk of their encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at byte {at})")]
pub struct Malformed {
    /// What is wrong.
    pub what: &'static str,
    /// Where in the payload, in bytes.
    pub at: usize,
}

impl Malformed {
    /// The same finding in bytes that begin `by` earlier.
    pub(crate) fn shifted(self, by: usize) -> Malformed {
        Malformed { at: self.at + by, ..self }
    }
}
