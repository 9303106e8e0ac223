//! The control plane as the rest of cairn sees it.
//!
//! [`Coordinator`] is the seam: placement to route by, work to hold, tokens to check. [`RaftCoordinator`] runs
//! the Raft group of one voter behind it; its own session is renewed by a supervised loop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_runtime::Runtime;
use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::info;

use crate::placement::{NodeId, Owner, Placement};
use crate::session::{RENEW_EVERY, SessionTable};
use crate::state::{ClusterState, Command, Member, Outcome};
use crate::store::{AppliedState, LogStore, RaftRuntime, RaftTypes, StateMachine};
use crate::token::Token;

mod identity;
mod network;

pub use identity::{Identity, IdentityError};

/// Election timeout range and heartbeat. Inequality: `HEARTBEAT * 3 < ELECTION_MIN`, so that two lost
/// heartbeats elect nobody; fail-over takes two to three times the lower bound.
const ELECTION_MIN: Duration = Duration::from_millis(600);
const ELECTION_MAX: Duration = Duration::from_millis(1200);
const HEARTBEAT: Duration = Duration::from_millis(100);
const _: () = assert!(HEARTBEAT.as_millis() * 3 < ELECTION_MIN.as_millis());

/// Entries after which a snapshot is taken and the log cut.
const SNAPSHOT_EVERY_ENTRIES: u64 = 1_000;

/// How long a start waits for a leader before it gives up.
const LEADER_PATIENCE: Duration = Duration::from_secs(30);

/// What went wrong in the control plane.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum ClusterError {
    #[error("cannot open the raft state in {dir}: {source}")]
    Open { dir: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("raft cannot {action}: {reason}")]
    Raft { action: &'static str, reason: String },
    #[error("the control plane refused: {0}")]
    Refused(String),
    /// The caller's work is somebody else's now: stop it.
    #[error("token {token} for {name} is no longer current: another holder has taken over")]
    Fenced { name: String, token: Token },
}

/// The control plane.
#[async_trait]
pub trait Coordinator: Send + Sync {
    /// This node with the identity of its disk.
    fn this_node(&self) -> Owner;

    /// The placement this node knows. Never waits.
    fn placement(&self) -> Arc<Placement>;

    /// Takes the work `name` for this node, whoever held it before, and gives the token that proves it.
    async fn assign(&self, name: &str) -> Result<Token, ClusterError>;

    /// Gives the work back. A token that is not current changes nothing and is no error.
    async fn release(&self, name: &str, token: Token) -> Result<(), ClusterError>;

    /// Whether `token` is still the current one for `name`, as far as this node knows. Never waits.
    ///
    /// # Errors
    /// [`ClusterError::Fenced`] when it is not.
    fn check(&self, name: &str, token: Token) -> Result<(), ClusterError>;
}

/// How to start.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Data folder of the node; Raft's files go to `raft/` in it.
    pub data_dir: PathBuf,
    /// Where peers will reach this node.
    pub peer_address: String,
    /// Failure domain, or empty.
    pub zone: String,
}

/// A Raft group of one voter.
pub struct RaftCoordinator {
    raft: Raft<RaftTypes, StateMachine>,
    runtime: Runtime,
    me: Owner,
    state: watch::Receiver<Arc<AppliedState>>,
    sessions: Arc<Mutex<SessionTable>>,
}

impl RaftCoordinator {
    /// Opens the state in the data folder, becomes leader, founds the cluster when there is none, and registers
    /// this node. Returns when the state on disk has been applied.
    ///
    /// # Errors
    /// When the state cannot be read or Raft does not come up.
    pub async fn start(runtime: &Runtime, options: &ClusterOptions) -> Result<Arc<Self>, ClusterError> {
        let identity = Identity::load_or_create(&*runtime.disk, &options.data_dir, &runtime.rng)?;
        let me = identity.owner();
        let dir = options.data_dir.join("raft");
        let opened = |source| ClusterError::Open { dir: dir.clone(), source };
        let log = LogStore::open(runtime.disk.clone(), &dir, runtime.cpu.clone()).map_err(opened)?;
        let machine = StateMachine::open(runtime.disk.clone(), &dir, runtime.cpu.clone()).map_err(opened)?;
        let state = machine.watch();
        let config = Arc::new(raft_config()?);
        let raft = seeded(runtime, Raft::new(me.node, config, network::NoPeers, log, machine))
            .await
            .map_err(|e| raft_error("start", e))?;
        let sessions = Arc::new(Mutex::new(SessionTable::default()));
        let this = Arc::new(RaftCoordinator { raft, runtime: runtime.clone(), me, state, sessions });
        this.become_leader(&options.peer_address).await?;
        this.register(options, &identity).await?;
        this.clone().keep_session();
        info!(node = me.node, incarnation = me.incarnation, epoch = %this.placement().epoch, "control plane is up");
        Ok(this)
    }

    /// The state this node has applied.
    pub fn state(&self) -> Arc<AppliedState> {
        self.state.borrow().clone()
    }

    /// Stops Raft. Nothing is lost: every acknowledged commit is on disk.
    pub async fn stop(&self) -> Result<(), ClusterError> {
        seeded(&self.runtime, self.raft.shutdown()).await.map_err(|e| raft_error("stop", e))
    }

    async fn become_leader(&self, peer_address: &str) -> Result<(), ClusterError> {
        let fresh =
            !seeded(&self.runtime, self.raft.is_initialized()).await.map_err(|e| raft_error("start", e))?;
        if fresh {
            let voters = BTreeMap::from([(self.me.node, BasicNode::new(peer_address))]);
            seeded(&self.runtime, self.raft.initialize(voters))
                .await
                .map_err(|e| raft_error("initialize", e))?;
        }
        let me = self.me.node;
        seeded(&self.runtime, self.raft.wait(Some(LEADER_PATIENCE)).current_leader(me, "this node leads"))
            .await
            .map_err(|e| raft_error("elect a leader", e))?;
        // A read through the leader: all that was committed before the restart has been applied after it.
        seeded(&self.runtime, self.raft.ensure_linearizable(openraft::ReadPolicy::ReadIndex))
            .await
            .map_err(|e| raft_error("catch up", e))?;
        let (now, members) = (self.runtime.clock.monotonic(), owners(&self.state().cluster));
        *self.sessions.lock() = SessionTable::of_new_leader(members, now);
        Ok(())
    }

    async fn register(&self, options: &ClusterOptions, identity: &Identity) -> Result<(), ClusterError> {
        let member = Member {
            incarnation: self.me.incarnation,
            peer_address: options.peer_address.clone(),
            zone: options.zone.clone(),
        };
        let state = self.state();
        if state.cluster.members.get(&self.me.node) == Some(&member) {
            return Ok(());
        }
        let (node, cluster_id) = (self.me.node, identity.cluster_id_hint.clone());
        let command = match state.cluster.cluster_id {
            None => Command::Found { cluster_id, node, member },
            Some(_) => Command::Register { node, member },
        };
        self.commit(command).await.map(drop)
    }

    async fn commit(&self, command: Command) -> Result<Outcome, ClusterError> {
        let written = seeded(&self.runtime, self.raft.client_write(command)).await;
        match written.map_err(|e| raft_error("commit", e))?.data {
            Outcome::Refused(why) => Err(ClusterError::Refused(why)),
            outcome => Ok(outcome),
        }
    }

    fn keep_session(self: Arc<Self>) {
        self.sessions.lock().renew(self.me, self.runtime.clock.monotonic());
        let clock = self.runtime.clock.clone();
        let tasks = self.runtime.tasks.clone();
        tasks.spawn_loop("session", clock, move |shutdown| {
            let this = self.clone();
            async move {
                loop {
                    tokio::select! {
                        () = shutdown.begun() => return,
                        () = this.runtime.clock.sleep(RENEW_EVERY) => {}
                    }
                    let now = this.runtime.clock.monotonic();
                    this.sessions.lock().renew(this.me, now);
                }
            }
        });
    }
}

#[async_trait]
impl Coordinator for RaftCoordinator {
    fn this_node(&self) -> Owner {
        self.me
    }

    fn placement(&self) -> Arc<Placement> {
        Arc::new(self.state.borrow().cluster.placement.clone())
    }

    async fn assign(&self, name: &str) -> Result<Token, ClusterError> {
        if !self.sessions.lock().is_live(self.me, self.runtime.clock.monotonic()) {
            return Err(ClusterError::Refused("this node's session has ended".to_owned()));
        }
        match self.commit(Command::Assign { name: name.to_owned(), holder: self.me }).await? {
            Outcome::Assigned(token) => Ok(token),
            other => Err(ClusterError::Refused(format!("unexpected answer to an assignment: {other:?}"))),
        }
    }

    async fn release(&self, name: &str, token: Token) -> Result<(), ClusterError> {
        match self.commit(Command::Release { name: name.to_owned(), token }).await {
            Ok(_) | Err(ClusterError::Refused(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn check(&self, name: &str, token: Token) -> Result<(), ClusterError> {
        if self.state.borrow().cluster.is_current(name, token) {
            Ok(())
        } else {
            Err(ClusterError::Fenced { name: name.to_owned(), token })
        }
    }
}

fn owners(state: &ClusterState) -> Vec<Owner> {
    state.members.iter().map(|(node, m)| Owner { node: *node, incarnation: m.incarnation }).collect()
}

fn raft_config() -> Result<Config, ClusterError> {
    Config {
        cluster_name: "cairn".to_owned(),
        election_timeout_min: ELECTION_MIN.as_millis() as u64,
        election_timeout_max: ELECTION_MAX.as_millis() as u64,
        heartbeat_interval: HEARTBEAT.as_millis() as u64,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY_ENTRIES),
        enable_pre_vote: Some(true),
        ..Config::default()
    }
    .validate()
    .map_err(|e| raft_error("start", e))
}

fn raft_error(action: &'static str, e: impl std::fmt::Display) -> ClusterError {
    ClusterError::Raft { action, reason: e.to_string() }
}

/// Enters the seeded randomness that every call into Raft needs.
async fn seeded<F: Future>(runtime: &Runtime, call: F) -> F::Output {
    RaftRuntime::scope(runtime.rng.next_u64(), call).await
}

/// Node id of the only voter.
pub const FIRST_NODE: NodeId = 1;

#[cfg(test)]
mod tests;
