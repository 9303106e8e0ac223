//! Storage engine: head, write-ahead log, chunks, blocks, index. Knows no HTTP, no protobuf, no bucket.

pub mod chunkenc;
pub mod wal;
