//! What can go wrong while a block is made.

use cairn_bucket::BucketError;
use cairn_tsdb::TsdbError;
use ulid::Ulid;

/// Outcomes that the compactor tells apart.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum CompactError {
    /// This block is damaged: it is set aside, and the others go on.
    #[error("cannot compact block {ulid}: {reason}")]
    BadBlock { ulid: Ulid, reason: String },
    /// The bucket did not do its part; the plan is tried again.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The local disk did not do its part; the plan is tried again.
    #[error("cannot write the compacted block: {0}")]
    Output(TsdbError),
    /// A local file cannot be used.
    #[error("cannot use {path}: {source}")]
    Local { path: String, source: std::io::Error },
    /// There is less space than the plan needs.
    #[error(
        "cannot compact {blocks} blocks: {path} has {free_bytes} bytes free, {needed_bytes} are needed; give the \
         data folder more space"
    )]
    DiskFull { blocks: usize, path: String, free_bytes: u64, needed_bytes: u64 },
    /// The settings cannot work.
    #[error("cannot start the compactor: {0}")]
    Config(String),
    /// The computation ended by a bug; see the log.
    #[error("cannot compact: internal error (see the log)")]
    Panicked,
    /// The process is stopping.
    #[error("compaction stopped: shutting down")]
    ShuttingDown,
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, CompactError>;
