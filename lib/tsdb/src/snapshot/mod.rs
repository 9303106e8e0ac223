//! Head snapshots: what a start loads instead of replaying the whole log.
//!
//! [`file`] is the container of sections, [`manifest`] the section that says what the snapshot stands for. What the
//! other sections hold is written and read by [`crate::head::frozen`]; when one is taken and how it is loaded is
//! [`crate::db::snapshot`]'s. Layout: docs/formats/snapshot.md; decision: docs/adr/0009-head-snapshots.md.
//!
//! Invariant: a snapshot is only an acceleration. The log keeps everything that is not in a verified block, so a
//! snapshot that is missing, damaged or of another version costs the time of a longer replay and nothing else.

pub mod file;
pub mod manifest;

pub use file::{Section, SectionKind, SnapshotFile, SnapshotWriter};
pub use manifest::Manifest;
