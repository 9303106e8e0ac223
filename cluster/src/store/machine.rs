//! The replicated state machine: [`ClusterState`] with the log position it stands at.
//!
//! The state is small, so a snapshot is the whole of it as JSON in `raft/snapshot.json`, replaced atomically.
//! Readers get it through a watch channel, without touching Raft.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_runtime::{CpuPool, Disk};
use futures::{Stream, TryStreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::RaftTypes;
use crate::state::{ClusterState, Outcome};

/// The state with where it stands in the log.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct AppliedState {
    /// Last entry that was applied.
    pub last_applied: Option<LogIdOf<RaftTypes>>,
    /// Membership of the Raft group as of then.
    pub membership: StoredMembershipOf<RaftTypes>,
    /// What the group agreed on.
    pub cluster: ClusterState,
}

/// Applies committed entries. Clones share the state.
#[derive(Clone)]
pub struct StateMachine {
    disk: Arc<dyn Disk>,
    snapshot_path: PathBuf,
    cpu: CpuPool,
    state: watch::Sender<Arc<AppliedState>>,
}

impl StateMachine {
    /// Starts from the snapshot in `dir`, if there is one.
    ///
    /// # Errors
    /// Of the disk, or `InvalidData` when the snapshot cannot be read or breaks an invariant.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, cpu: CpuPool) -> io::Result<Self> {
        disk.create_dir_all(dir)?;
        let snapshot_path = dir.join("snapshot.json");
        let state = if disk.exists(&snapshot_path)? {
            parse_snapshot(&disk.read(&snapshot_path)?)?
        } else {
            AppliedState::default()
        };
        Ok(StateMachine { disk, snapshot_path, cpu, state: watch::Sender::new(Arc::new(state)) })
    }

    /// Follows the state.
    pub fn watch(&self) -> watch::Receiver<Arc<AppliedState>> {
        self.state.subscribe()
    }

    fn current(&self) -> Arc<AppliedState> {
        self.state.borrow().clone()
    }

    /// Writes a snapshot off the caller's task, for which Raft's clock runs. Gives its bytes back.
    async fn save(&self, state: &AppliedState) -> io::Result<Vec<u8>> {
        let bytes = serde_json::to_vec(state).map_err(io::Error::other)?;
        let (disk, path) = (self.disk.clone(), self.snapshot_path.clone());
        let saving = self.cpu.run_blocking(move || disk.write_atomic(&path, &bytes).map(|()| bytes));
        saving.await.map_err(io::Error::other)?
    }

    fn meta_of(state: &AppliedState) -> SnapshotMetaOf<RaftTypes> {
        SnapshotMetaOf::<RaftTypes> {
            last_log_id: state.last_applied,
            last_membership: state.membership.clone(),
        }
    }
}

fn parse_snapshot(bytes: &[u8]) -> io::Result<AppliedState> {
    let invalid = |reason: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("raft snapshot cannot be used: {reason}"))
    };
    let state: AppliedState = serde_json::from_slice(bytes).map_err(|e| invalid(e.to_string()))?;
    state.cluster.validate().map_err(invalid)?;
    Ok(state)
}

impl RaftStateMachine<RaftTypes> for StateMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<RaftTypes>>, StoredMembershipOf<RaftTypes>)> {
        let state = self.current();
        Ok((state.last_applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<RaftTypes>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut next = AppliedState::clone(&self.current());
            next.last_applied = Some(entry.log_id);
            let outcome = match entry.payload {
                EntryPayload::Blank => Outcome::Done,
                EntryPayload::Normal(command) => next.cluster.apply(entry.log_id.index, &command),
                EntryPayload::Membership(m) => {
                    next.membership = StoredMembershipOf::<RaftTypes>::new(Some(entry.log_id), m);
                    Outcome::Done
                }
            };
            debug_assert_eq!(next.cluster.validate(), Ok(()));
            self.state.send_replace(Arc::new(next));
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<RaftTypes>,
        snapshot: Vec<u8>,
    ) -> io::Result<()> {
        let mut state = parse_snapshot(&snapshot)?;
        state.last_applied = meta.last_log_id;
        state.membership = meta.last_membership.clone();
        self.save(&state).await?;
        self.state.send_replace(Arc::new(state));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<RaftTypes, Vec<u8>>>> {
        if !self.disk.exists(&self.snapshot_path)? {
            return Ok(None);
        }
        let bytes = self.disk.read(&self.snapshot_path)?;
        let state = parse_snapshot(&bytes)?;
        Ok(Some(SnapshotOf::<RaftTypes, Vec<u8>> { meta: Self::meta_of(&state), snapshot: bytes }))
    }
}

impl RaftSnapshotBuilder<RaftTypes> for StateMachine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<RaftTypes, Vec<u8>>> {
        let state = self.current();
        let bytes = self.save(&state).await?;
        Ok(SnapshotOf::<RaftTypes, Vec<u8>> { meta: Self::meta_of(&state), snapshot: bytes })
    }
}
