//! Storage engine: head, write-ahead log, chunks, blocks, index. Knows no HTTP, no protobuf, no bucket.

pub mod block;
pub mod chunkenc;
pub mod db;
pub mod decbuf;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod head;
pub mod index;
mod mapped;
pub mod meta;
pub mod snapshot;
pub mod tombstones;
pub mod tools;
pub mod wal;

pub use db::{Db, DbOptions};
pub use error::TsdbError;
