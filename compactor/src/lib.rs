//! Plans and runs compaction, downsampling, retention and cleaning of a bucket.
//!
//! In the order of a pass: [`plan`] decides what to merge, [`levels`] what to downsample and [`retention`] what is
//! past its time, all of them pure; [`download`] fetches inputs, [`merge`] and [`downsample`] make the output, and
//! [`run`] joins them through the bucket's commit protocol.
//!
//! Invariants: a source is marked for deletion only after the record of its replacement was read and the
//! replacement seen whole; a damaged block is set aside and never stops the others.

pub mod download;
pub mod downsample;
pub mod error;
pub mod levels;
pub mod merge;
pub mod metrics;
pub mod plan;
pub mod retention;
pub mod run;

pub use error::{CompactError, Result};
pub use run::{Compactor, CompactorConfig, PassReport};
