//! Numbers that order decisions: epochs of the placement and fencing tokens of assignments.
//!
//! Both are (reign, log index): the index orders decisions of one Raft group, the reign the groups that follow
//! one another when a cluster is recovered from its disks. Compared as pairs, they only grow.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of the placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// Which recovery of the cluster.
    pub reign: u64,
    /// Raft log index of the commit.
    pub index: u64,
}

/// Proof of holding an assignment. Sinks refuse a lower token than one they have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Token {
    /// Which recovery of the cluster.
    pub reign: u64,
    /// Raft log index of the assignment.
    pub index: u64,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.reign, self.index)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.reign, self.index)
    }
}
