//! Chunks: samples of one series at rest and on the way to a reader.
//!
//! Encoded bytes are exactly Prometheus' chunk payloads (without length, encoding byte and CRC), so that a block
//! file, the StoreAPI wire and the engine share them. What no encoding holds, or what was just computed, travels as
//! columns ([`ChunkData::Columns`]) and is encoded only when it must leave the process.

use std::sync::Arc;

use bytes::Bytes;

use crate::sample::{TimestampMs, Value};

/// Chunk encodings by Prometheus' numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// Gorilla XOR floats.
    Xor = 1,
    /// Native histograms with integer counts.
    Histogram = 2,
    /// Native histograms with float counts.
    FloatHistogram = 3,
    /// XOR floats with start timestamps and cheap stale markers.
    Xor2 = 4,
}

impl Encoding {
    /// The encoding of a number in a file.
    pub fn from_byte(b: u8) -> Option<Self> {
        [Encoding::Xor, Encoding::Histogram, Encoding::FloatHistogram, Encoding::Xor2]
            .into_iter()
            .find(|e| *e as u8 == b)
    }
}

/// The samples of a chunk.
#[derive(Debug, Clone)]
pub enum ChunkData {
    /// Prometheus' payload.
    Encoded(Encoding, Bytes),
    /// Samples in order of time, not encoded yet.
    Columns(Arc<Columns>),
}

/// Samples as columns of equal length.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    /// Strictly increasing.
    pub t_ms: Vec<TimestampMs>,
    /// One value a timestamp.
    pub values: ColumnValues,
    /// Start timestamps, 0 = unknown; empty when all are unknown.
    pub start_ms: Vec<TimestampMs>,
}

/// The values of [`Columns`].
#[derive(Debug, Clone)]
pub enum ColumnValues {
    /// Only floats.
    Floats(Vec<f64>),
    /// Anything.
    Mixed(Vec<Value>),
}

impl Default for ColumnValues {
    fn default() -> Self {
        ColumnValues::Floats(Vec::new())
    }
}

/// A chunk with the time range it covers: `min_ms ..= max_ms`, both sample times.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Time of the first sample.
    pub min_ms: TimestampMs,
    /// Time of the last sample.
    pub max_ms: TimestampMs,
    /// The samples.
    pub data: ChunkData,
}

/// What a store answers for a stretch of a series: raw samples, or downsampled aggregates.
#[derive(Debug, Clone)]
pub enum AggrChunk {
    /// Raw samples.
    Raw(Chunk),
    /// Aggregates of a downsampled block; absent slots were not stored or not asked for.
    Downsampled(Box<Aggregates>),
}

/// The five aggregates of a downsampled chunk (reference of Thanos' AggrChunk).
#[derive(Debug, Clone, Default)]
pub struct Aggregates {
    /// Start of the covered range.
    pub min_ms: TimestampMs,
    /// End of the covered range, inclusive.
    pub max_ms: TimestampMs,
    /// Number of raw samples a window.
    pub count: Option<Chunk>,
    /// Sum of raw samples a window.
    pub sum: Option<Chunk>,
    /// Least raw sample a window.
    pub min: Option<Chunk>,
    /// Greatest raw sample a window.
    pub max: Option<Chunk>,
    /// Reset-corrected running counter, with the first and last raw values at its ends.
    pub counter: Option<Chunk>,
}

impl AggrChunk {
    /// Start of the covered range.
    pub fn min_ms(&self) -> TimestampMs {
        match self {
            AggrChunk::Raw(c) => c.min_ms,
            AggrChunk::Downsampled(a) => a.min_ms,
        }
    }

    /// End of the covered range, inclusive.
    pub fn max_ms(&self) -> TimestampMs {
        match self {
            AggrChunk::Raw(c) => c.max_ms,
            AggrChunk::Downsampled(a) => a.max_ms,
        }
    }
}
