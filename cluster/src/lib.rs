//! The control plane: who is a member, who owns which slots in which epoch, who holds which job.
//!
//! Raft holds it, samples never pass through it. From the pure core outwards: [`slot`] and [`placement`] say
//! where a series belongs, [`token`] orders decisions, [`state`] is what the group agrees on and
//! [`state::ClusterState::apply`] the only way to change it, [`session`] is liveness in the leader's memory,
//! [`store`] keeps Raft's log and snapshots on disk, and [`coordinator`] is what the rest of cairn sees.
//!
//! Today's group has one voter (the all-in-one); joining nodes come with the cluster itself. The seams are final.
//!
//! Invariants: `apply` is pure, total and deterministic; epochs and tokens only grow; a token is current for at
//! most one holder.

pub mod coordinator;
pub mod placement;
pub mod session;
pub mod slot;
pub mod state;
pub mod store;
pub mod token;

pub use coordinator::{ClusterError, ClusterOptions, Coordinator, RaftCoordinator};
pub use placement::{Owner, Placement};
pub use slot::{SLOTS, slot_of};
pub use state::{ClusterState, Command, Outcome};
pub use token::{Epoch, Token};
