//! Seeded simulation: the product's own crates on a simulated clock and disk, with faults, and invariants that are
//! checked all the time.
//!
//! In the order in which a run meets them: [`run`] makes a [`world`] from a seed and lets the [`actors`] loose on
//! it. The [`node`] is wired as the all-in-one is (control plane, database, receiver, reads over all stores); its
//! disk is a [`MemDisk`](cairn_runtime::MemDisk) that [`weather`] makes fail and that forgets unsynced bytes in a
//! crash. [`traffic`] makes the requests, the [`ledger`] remembers what was offered and acknowledged, and the
//! [`invariants`] compare it with what the node says. Everything that happens goes into the [`trace`].
//! [`mutants`] are faults of the product itself, planted to see the invariants catch them.
//!
//! A run has two phases: in the safety phase anything may fail but nothing may be wrong; in the healing phase the
//! faults are off and everything must work again.
//!
//! Invariant: one seed gives one trace, on every machine and in every run.

pub mod actors;
pub mod invariants;
pub mod ledger;
pub mod life_disk;
pub mod mutants;
pub mod node;
pub mod run;
pub mod trace;
pub mod traffic;
pub mod weather;
pub mod world;

pub use invariants::Violation;
pub use mutants::Mutant;
pub use run::{Failure, Report, Settings, run};
