//! Blocks: immutable folders of chunks, index and description, as Prometheus and Thanos have them.
//!
//! In the order of a block's life: [`BlockWriter`] streams series in (through [`file`] and [`segment`]),
//! [`BlockReader`] answers from the folder without copying chunks, [`verify`] checks every byte of it, and
//! [`BlockStore`] keeps the local blocks of a node as one store. [`aggr`] is the chunk of downsampled blocks.
//! Layout: docs/formats/block.md.
//!
//! Invariants: a folder with the name of a ULID holds a whole, durable block; an unfinished one has another name.
//! A corrupt block is set aside by name and never stops the others.

pub mod aggr;
mod answer;
pub mod file;
mod reader;
pub mod segment;
mod store;
pub mod verify;
mod writer;

pub use reader::{BlockReader, BlockSeries};
pub use segment::BlockChunk;
pub use store::{BlockStore, Quarantined};
pub use verify::{Finding, Verification, verify};
pub use writer::{BlockOptions, BlockWriter, remove_unfinished};

/// Folder of the chunk segments inside a block.
pub const CHUNKS_DIR: &str = "chunks";

/// File name of the index inside a block.
pub const INDEX_FILE: &str = "index";

/// File name of the tombstones inside a block.
pub const TOMBSTONES_FILE: &str = "tombstones";

/// What follows the ULID in the folder name of a block that is being written.
pub const UNFINISHED_SUFFIX: &str = ".tmp-for-creation";

/// What follows the ULID in the folder name of a block that is being removed.
pub const DELETED_SUFFIX: &str = ".tmp-for-deletion";

#[cfg(test)]
mod tests;
