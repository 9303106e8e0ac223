//! What can go wrong with a bucket, by what a caller does about it.

use crate::digest::Sha256;

/// Outcomes that callers tell apart.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum BucketError {
    /// The configuration cannot be used; nothing was touched.
    #[error("cannot use object storage configuration: {0}")]
    Config(String),
    /// The store has no create-if-absent, on which the commit protocol rests.
    #[error(
        "cannot use bucket {bucket}: {finding}; commit records need it to stay exactly-once. Use a store with \
         conditional writes, or accept doubled or lost blocks with --bucket.unsafe-no-conditional-put"
    )]
    NoConditionalPut { bucket: String, finding: String },
    /// The store refused or did not answer. For a write, what happened is unknown.
    #[error("cannot {action} {object}: {source}")]
    Store { action: &'static str, object: String, source: object_store::Error },
    /// An object is larger than its kind may be.
    #[error("cannot read {object}: {size_bytes} bytes, more than the {limit_bytes} allowed for its kind")]
    TooLarge { object: String, size_bytes: u64, limit_bytes: u64 },
    /// An object that should be there is not.
    #[error("cannot read {object}: it is not in the bucket")]
    Missing { object: String },
    /// An object is not what its format says.
    #[error("cannot read {object}: {reason}")]
    Malformed { object: String, reason: String },
    /// What was read back is not what was written.
    #[error(
        "cannot verify {object}: wrote {want_bytes} bytes with {want}, read {got_bytes} bytes with {got}"
    )]
    Unsound { object: String, want_bytes: u64, want: Sha256, got_bytes: u64, got: Sha256 },
    /// A commit record names another job: two jobs share a key, which is a bug, or someone wrote there.
    #[error("cannot commit {job}: its record {object} belongs to another job; move that record away by hand")]
    ForeignRecord { job: String, object: String },
    /// The attempt took too long; a new one starts from what is in the bucket.
    #[error("cannot commit {job}: attempt gave itself up after {hours} h; it will be tried again")]
    GaveUp { job: String, hours: u64 },
    /// The bucket changed under the attempt again and again.
    #[error("cannot commit {job}: no end after {steps} steps; it will be tried again")]
    NoProgress { job: String, steps: usize },
    /// A local file that was to be shipped cannot be read.
    #[error("cannot ship {path}: {source}")]
    Local { path: String, source: std::io::Error },
    /// A local block that was to be shipped is not a block.
    #[error("cannot ship {path}: {reason}")]
    NotABlock { path: String, reason: String },
    /// The process is stopping.
    #[error("cannot {action}: shutting down")]
    ShuttingDown { action: &'static str },
}

impl BucketError {
    /// Makes an error of `action` on `object` out of the store's.
    pub fn store(
        action: &'static str,
        object: impl std::fmt::Display,
    ) -> impl FnOnce(object_store::Error) -> Self {
        let object = object.to_string();
        move |source| BucketError::Store { action, object, source }
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, BucketError>;
