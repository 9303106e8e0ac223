//! A block's index: which series it has, by label, and where their chunks are.
//!
//! In the order of the file: [`symbols`] holds every text once, [`series`] the labels and chunk places of each
//! series, [`postings`] sorted lists of series references, [`postings_table`] says where the list of a label pair
//! is, [`toc`] where the parts are. [`IndexWriter`] streams a file out, [`IndexReader`] answers from one, mapped
//! or in memory; [`select`] turns matchers into series. Layout: docs/formats/block.md.
//!
//! Invariant: a reader takes any bytes: it may refuse them, but neither panics nor reserves memory out of
//! proportion to them. Every section is checked against its checksum before it is believed.

pub mod postings;
pub mod postings_table;
mod reader;
pub mod select;
pub mod series;
pub mod symbols;
pub mod toc;
mod writer;

pub use postings_table::PostingsTable;
pub use reader::IndexReader;
pub use series::{ChunkMeta, KnownSymbols, SeriesEntry};
pub use symbols::Symbols;
pub use toc::Toc;
pub use writer::{IndexWriter, SymbolSet};

/// First four bytes of an index.
pub const MAGIC: u32 = 0xBAAA_D700;

/// The version that is written.
pub const VERSION: u8 = 2;

/// Series begin at multiples of this; a series reference is its offset divided by it.
pub const SERIES_ALIGN: u64 = 16;

/// Label pair of the list of all series.
pub const ALL_POSTINGS: (&str, &str) = ("", "");

#[cfg(test)]
mod tests;
