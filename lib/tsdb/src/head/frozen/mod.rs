//! A partition at rest: what a head snapshot holds of it, written slice by slice while writers go on, and read back.
//!
//! [`copies`] takes series and makes sections of them, [`write`] does so with label pairs and closed windows, [`read`]
//! makes a partition of them, [`extra`] is what few series have. Slots are not kept: series get new ones in the old
//! order, so numbers that rise with every series that ever was start anew. Layout: docs/formats/snapshot.md.
//!
//! Invariants: a partition read back answers readers and judges samples as the written one did at some moment for each
//! series; no bytes, however wrong, make reading panic or take memory that they do not have.

mod copies;
mod extra;
mod read;
mod write;

pub use copies::Copies;
pub use read::{Thawed, thaw};

/// The series has a window: its tail follows.
const HAS_WINDOW: u8 = 1;
/// The series has an open chunk.
const HAS_OPEN: u8 = 2;
/// The series has full chunks.
const HAS_FULL: u8 = 4;
/// The series has samples outside its open window.
const HAS_LAST: u8 = 8;
/// The series has extra state.
const HAS_MORE: u8 = 16;

#[cfg(test)]
mod tests;
