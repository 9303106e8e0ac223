//! Placement: which nodes own a slot.
//!
//! A slot belongs to one *replica group*, a list of owners of which the first one leads (it gives the upload
//! group of the slot's data its name). Owners are named with their incarnation: a node whose disk was wiped is
//! somebody else and owns nothing until a new epoch says so.

use serde::{Deserialize, Serialize};

use crate::slot::SLOTS;
use crate::token::Epoch;

/// A node's name in the cluster.
pub type NodeId = u64;

/// A node with the identity of its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The node.
    pub node: NodeId,
    /// Random number written when its data folder was formatted.
    pub incarnation: u64,
}

/// Who owns what in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Version.
    pub epoch: Epoch,
    /// Replica groups.
    pub groups: Vec<Vec<Owner>>,
    /// For each slot the index of its group; empty before the cluster is founded.
    pub slots: Vec<u16>,
}

impl Placement {
    /// Before the cluster is founded: nobody owns anything.
    pub fn none() -> Self {
        Placement { epoch: Epoch::default(), groups: Vec::new(), slots: Vec::new() }
    }

    /// All slots on one group.
    pub fn single_group(epoch: Epoch, owners: Vec<Owner>) -> Self {
        Placement { epoch, groups: vec![owners], slots: vec![0; usize::from(SLOTS)] }
    }

    /// Owners of `slot`, the leading one first; empty before the cluster is founded.
    pub fn owners(&self, slot: u16) -> &[Owner] {
        self.slots
            .get(usize::from(slot))
            .and_then(|g| self.groups.get(usize::from(*g)))
            .map_or(&[], Vec::as_slice)
    }

    /// The invariant, for assertions and for state that comes from a disk.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn validate(&self) -> Result<(), String> {
        if self.slots.is_empty() && self.groups.is_empty() {
            return Ok(());
        }
        if self.slots.len() != usize::from(SLOTS) {
            return Err(format!("placement {} has {} slots, not {SLOTS}", self.epoch, self.slots.len()));
        }
        if let Some(g) = self.slots.iter().find(|g| usize::from(**g) >= self.groups.len()) {
            return Err(format!("placement {} names group {g} of {}", self.epoch, self.groups.len()));
        }
        for (i, group) in self.groups.iter().enumerate() {
            let mut nodes: Vec<_> = group.iter().map(|o| o.node).collect();
            nodes.sort_unstable();
            nodes.dedup();
            if nodes.is_empty() || nodes.len() != group.len() {
                return Err(format!("group {i} of placement {} is empty or names a node twice", self.epoch));
            }
        }
        Ok(())
    }
}
