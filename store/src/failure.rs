//! Two kinds of failures: a block that is damaged, and all that may pass.

use cairn_model::storage::StoreError;
use ulid::Ulid;

/// Why a part of an answer is missing.
#[derive(Debug, Clone)]
pub enum Failure {
    /// The block is damaged: it is quarantined, named in the answer, and the others go on.
    Corrupt {
        /// The block.
        ulid: Ulid,
        /// What is wrong with it.
        reason: String,
    },
    /// The bucket or the disk did not answer; the same request may succeed later.
    Passing(StoreError),
}
