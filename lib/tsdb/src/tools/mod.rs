//! What `cairn tools tsdb …` does, with promtool's words and output shapes.
//!
//! Each tool is a function over a folder of blocks that writes to an `io::Write`: [`list`], [`dump`], [`analyze`],
//! [`verify_blocks`], and [`backfill`] (create-blocks-from openmetrics, whose input [`openmetrics`] reads); long ones tell of their [`Progress`]. They
//! read blocks only: what a head has not yet written out is not seen. Where promtool loses samples, these do not:
//! its dump swallows the first one or two samples of every histogram series.

pub mod analyze;
pub mod backfill;
pub mod dump;
mod folder;
mod format;
pub mod list;
pub mod openmetrics;
mod progress;
pub mod verify_blocks;

pub use analyze::{AnalyzeOptions, analyze};
pub use backfill::{BackfillOptions, backfill};
pub use dump::{DumpFormat, DumpOptions, dump, dump_openmetrics};
pub use folder::open_blocks;
pub use list::{BlockRow, list, print_rows};
pub use progress::{Progress, Unseen};
pub use verify_blocks::{VerifiedBlock, print_findings, verify_blocks};

use std::io;

use crate::error::TsdbError;

/// Wraps an error of the output.
pub(crate) fn output(source: io::Error) -> TsdbError {
    TsdbError::Io { verb: "write", object: "the output".to_owned(), source }
}

#[cfg(test)]
mod tests;
