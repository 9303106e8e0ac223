//! Storage engine: head, write-ahead log, chunks, blocks, index. Knows no HTTP, no protobuf, no bucket.

pub mod block;
pub mod chunkenc;
pub mod decbuf;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
pub mod meta;
pub mod tombstones;
pub mod wal;

pub use error::TsdbError;
