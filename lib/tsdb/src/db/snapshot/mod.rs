//! Head snapshots: when one is taken, and how a start uses it.
//!
//! **Protocol.** Under the log's fence a *mark* with the snapshot's number is queued, so every record before it has been
//! applied to the head. Then the partitions are copied slice by slice while writers go on ([`copy`]); head-chunk files are
//! made durable; the file gets its name when the mark is durable too ([`take`]). A start loads the snapshot and replays what
//! stands behind its mark ([`load`]). Samples that came while it was copied are met twice, which changes nothing,
//! because the head's state is a join. No window is closed, cut or released meanwhile: the caller holds `sealing`. What
//! was released since is let go of when the tail has been replayed, as the log says.
//!
//! [`debt`] estimates what a start would have to replay, which decides when a snapshot is due.
//!
//! Invariants: the log is kept as if there were no snapshot; a snapshot that cannot be used, whatever the reason, is
//! removed, and the whole log is replayed.

mod copy;
pub mod debt;
pub mod load;
pub mod take;

/// Folder of the snapshots below the database's.
pub const SNAPSHOT_DIR: &str = "snapshot";

/// Names a place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub id: u64,
    /// The segment in which it is.
    pub segment: u64,
}
