//! Slots: the unit in which series are placed on nodes.

/// How many slots there are. Part of the cluster's identity: never changes.
pub const SLOTS: u16 = 4096;

/// The slot of a series, from xxHash64 over tenant and labels
/// (`cairn_model::labels::LabelsRef::hash_with_prefix`).
pub fn slot_of(series_hash: u64) -> u16 {
    (series_hash % u64::from(SLOTS)) as u16
}
