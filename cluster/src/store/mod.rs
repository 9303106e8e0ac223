//! What Raft keeps on disk: a journal with the log and the vote, and a snapshot of the state.
//!
//! Layout in docs/formats/raft.md. A few commits a minute pass through here, so the whole log lives in memory
//! and the journal is only read at start.

mod journal;
mod log;
mod machine;

pub use journal::{JournalError, Record, decode_journal, encode_record};
pub use log::LogStore;
pub use machine::{AppliedState, StateMachine};

use openraft::impls::TokioRuntime;
use openraft_rt::deterministic_rng::DeterministicRng;

use crate::state::{Command, Outcome};

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Randomness of elections comes from a seed that [`crate::RaftCoordinator`] draws from the runtime.
pub type RaftRuntime = DeterministicRng<TokioRuntime>;

openraft::declare_raft_types!(
    /// What our Raft group replicates.
    pub RaftTypes:
        D = Command,
        R = Outcome,
        AsyncRuntime = RaftRuntime,
);
