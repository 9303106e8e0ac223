//! Commit: from a finished block on this machine to exactly one block in the bucket, whoever crashes.
//!
//! In the order of a commit: [`job`] names what is to be committed once, [`source`] holds the files,
//! [`record`] is the object that decides, [`view`] what an attempt knows and [`decide`] the one pure function
//! that says what to do next; [`attempt`] does it.
//!
//! Invariants (ADR on the commit protocol, docs/formats/bucket.md):
//! 1. Record n of a job is created once and never changed; it names one ULID, or none for an empty job.
//! 2. Only the ULID of a record may get a `meta.json`, and only the bytes in the record.
//! 3. A commit is done when the newest record was read, its `meta.json` seen, and *then* every file found sound.
//! 4. A folder is deleted by its attempt only if that attempt has read another ULID in the record and none of
//!    its creates is unanswered. All else is the cleaner's.
//! 5. Attempts end long before the cleaner may touch what they wrote: [`ATTEMPT_LIMIT`] < [`crate::clean::ORPHAN_AGE`].

pub mod attempt;
pub mod decide;
pub mod job;
pub mod record;
pub mod source;
pub mod view;

#[cfg(test)]
mod model_tests;

use std::time::Duration;

pub use attempt::{Committed, Committer};
pub use decide::{Step, decide};
pub use job::{Job, JobKey};
pub use record::{CommitRecord, FileRecord};
pub use source::{BlockSource, SourceFile};
pub use view::View;

/// An attempt older than this gives itself up (ADR 0006, 8).
pub const ATTEMPT_LIMIT: Duration = Duration::from_secs(6 * 3600);

const _: () = assert!(ATTEMPT_LIMIT.as_secs() * 2 <= crate::clean::ORPHAN_AGE.as_secs());
