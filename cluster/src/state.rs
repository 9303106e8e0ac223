//! What the Raft group agrees on, and the pure function that changes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::placement::{NodeId, Owner, Placement};
use crate::token::{Epoch, Token};

/// Most assignments a cluster holds: bounds memory and snapshots against a runaway caller.
pub const MAX_ASSIGNMENTS: usize = 100_000;

/// Longest name of an assignment, in bytes.
pub const MAX_ASSIGNMENT_NAME_BYTES: usize = 1024;

/// A member as it registered itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Identity of its disk.
    pub incarnation: u64,
    /// Where peers reach it, `host:port`.
    pub peer_address: String,
    /// Failure domain; empty when there is only one.
    pub zone: String,
}

/// A piece of work with its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Who holds it.
    pub holder: Owner,
    /// Proof of holding.
    pub token: Token,
}

/// The agreed state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterState {
    /// Created once, when the cluster is founded.
    pub cluster_id: Option<String>,
    /// Grows when the cluster is recovered from its disks.
    pub reign: u64,
    /// Members by node id.
    pub members: BTreeMap<NodeId, Member>,
    /// Who owns which slots.
    pub placement: Placement,
    /// Work by name.
    pub assignments: BTreeMap<String, Assignment>,
}

/// A change that is proposed to the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Creates the cluster with its first member, which owns every slot. Refused when there is one already.
    Found {
        /// Identity of the cluster.
        cluster_id: String,
        /// The first node.
        node: NodeId,
        /// Its registration.
        member: Member,
    },
    /// Adds a member or a new incarnation of one. A new incarnation loses every assignment of the old one and
    /// owns nothing until a placement names it.
    Register {
        /// The node.
        node: NodeId,
        /// Its registration.
        member: Member,
    },
    /// Gives a piece of work to a holder, whoever held it before. The commit's index becomes the token.
    Assign {
        /// Name of the work, for instance `rules/acme/node.yml/cpu`.
        name: String,
        /// The new holder.
        holder: Owner,
    },
    /// Gives work back. Refused when the token is not the current one.
    Release {
        /// Name of the work.
        name: String,
        /// The token under which it was held.
        token: Token,
    },
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub enum Outcome {
    /// Applied, nothing to tell.
    #[default]
    Done,
    /// The work is held under this token.
    Assigned(Token),
    /// Not applied; the state is as before.
    Refused(String),
}

impl Default for ClusterState {
    fn default() -> Self {
        ClusterState {
            cluster_id: None,
            reign: 1,
            members: BTreeMap::new(),
            placement: Placement::none(),
            assignments: BTreeMap::new(),
        }
    }
}

impl ClusterState {
    /// Applies the command that was committed at log index `index`. Pure, total and deterministic: no clock, no
    /// randomness, no failure; a command that does not fit is answered [`Outcome::Refused`].
    pub fn apply(&mut self, index: u64, command: &Command) -> Outcome {
        match command {
            Command::Found { cluster_id, node, member } => self.found(index, cluster_id, *node, member),
            Command::Register { node, member } => self.register(*node, member),
            Command::Assign { name, holder } => self.assign(index, name, *holder),
            Command::Release { name, token } => self.release(name, *token),
        }
    }

    fn found(&mut self, index: u64, cluster_id: &str, node: NodeId, member: &Member) -> Outcome {
        if let Some(existing) = &self.cluster_id {
            return Outcome::Refused(format!("the cluster {existing} exists already"));
        }
        self.cluster_id = Some(cluster_id.to_owned());
        self.members.insert(node, member.clone());
        let owner = Owner { node, incarnation: member.incarnation };
        self.placement = Placement::single_group(Epoch { reign: self.reign, index }, vec![owner]);
        Outcome::Done
    }

    fn register(&mut self, node: NodeId, member: &Member) -> Outcome {
        if self.cluster_id.is_none() {
            return Outcome::Refused("the cluster is not founded".to_owned());
        }
        let before = self.members.insert(node, member.clone());
        if before.is_some_and(|b| b.incarnation != member.incarnation) {
            self.assignments.retain(|_, a| a.holder.node != node);
        }
        Outcome::Done
    }

    fn assign(&mut self, index: u64, name: &str, holder: Owner) -> Outcome {
        if !self.is_member(holder) {
            return Outcome::Refused(format!("node {} is no member in this incarnation", holder.node));
        }
        if name.is_empty() || name.len() > MAX_ASSIGNMENT_NAME_BYTES {
            return Outcome::Refused(format!("a name of work has 1 to {MAX_ASSIGNMENT_NAME_BYTES} bytes"));
        }
        if self.assignments.len() >= MAX_ASSIGNMENTS && !self.assignments.contains_key(name) {
            return Outcome::Refused(format!("the limit of {MAX_ASSIGNMENTS} assignments is reached"));
        }
        let token = Token { reign: self.reign, index };
        self.assignments.insert(name.to_owned(), Assignment { holder, token });
        Outcome::Assigned(token)
    }

    fn release(&mut self, name: &str, token: Token) -> Outcome {
        match self.assignments.get(name) {
            Some(a) if a.token == token => {
                self.assignments.remove(name);
                Outcome::Done
            }
            Some(a) => Outcome::Refused(format!("{name} is held under token {}, not {token}", a.token)),
            None => Outcome::Refused(format!("{name} is not assigned")),
        }
    }

    /// Whether `owner` is a member in just this incarnation.
    pub fn is_member(&self, owner: Owner) -> bool {
        self.members.get(&owner.node).is_some_and(|m| m.incarnation == owner.incarnation)
    }

    /// Whether `token` is the current one for `name`.
    pub fn is_current(&self, name: &str, token: Token) -> bool {
        self.assignments.get(name).is_some_and(|a| a.token == token)
    }

    /// The invariants, for assertions and for state that comes from a disk.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn validate(&self) -> Result<(), String> {
        self.placement.validate()?;
        if self.cluster_id.is_none() && !(self.members.is_empty() && self.assignments.is_empty()) {
            return Err("a cluster that is not founded has members or assignments".to_owned());
        }
        if let Some((name, _)) = self.assignments.iter().find(|(_, a)| !self.is_member(a.holder)) {
            return Err(format!("{name} is held by somebody who is no member"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(incarnation: u64) -> Member {
        Member { incarnation, peer_address: "127.0.0.1:10900".into(), zone: String::new() }
    }

    fn founded() -> ClusterState {
        let mut s = ClusterState::default();
        let found = Command::Found { cluster_id: "c".into(), node: 1, member: member(7) };
        assert_eq!(s.apply(2, &found), Outcome::Done);
        s
    }

    #[test]
    fn founding_places_every_slot_once() {
        let mut s = founded();
        assert_eq!(s.placement.owners(4095), [Owner { node: 1, incarnation: 7 }]);
        assert_eq!(s.placement.epoch, Epoch { reign: 1, index: 2 });
        let again = Command::Found { cluster_id: "d".into(), node: 2, member: member(8) };
        assert!(matches!(s.apply(3, &again), Outcome::Refused(_)));
        assert_eq!(s.cluster_id.as_deref(), Some("c"));
    }

    #[test]
    fn a_new_holder_gets_a_higher_token_and_the_old_one_is_void() {
        let mut s = founded();
        let assign = Command::Assign { name: "job".into(), holder: Owner { node: 1, incarnation: 7 } };
        let Outcome::Assigned(first) = s.apply(3, &assign) else { panic!("not assigned") };
        let Outcome::Assigned(second) = s.apply(4, &assign) else { panic!("not assigned") };
        assert!(second > first && !s.is_current("job", first) && s.is_current("job", second));
        assert!(matches!(
            s.apply(5, &Command::Release { name: "job".into(), token: first }),
            Outcome::Refused(_)
        ));
    }

    #[test]
    fn a_wiped_node_holds_nothing() {
        let mut s = founded();
        let old = Owner { node: 1, incarnation: 7 };
        s.apply(3, &Command::Assign { name: "job".into(), holder: old });
        s.apply(4, &Command::Register { node: 1, member: member(8) });
        assert!(s.assignments.is_empty());
        assert!(matches!(
            s.apply(5, &Command::Assign { name: "job".into(), holder: old }),
            Outcome::Refused(_)
        ));
        assert_eq!(s.placement.owners(0), [old], "the placement still names the old incarnation only");
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let owner = (1u64..4, 0u64..3).prop_map(|(node, incarnation)| Owner { node, incarnation });
        let token = (1u64..2, 0u64..40).prop_map(|(reign, index)| Token { reign, index });
        prop_oneof![
            (1u64..4, 0u64..3).prop_map(|(node, i)| Command::Found {
                cluster_id: "c".into(),
                node,
                member: member(i)
            }),
            (1u64..4, 0u64..3).prop_map(|(node, i)| Command::Register { node, member: member(i) }),
            ("[ab]{0,2}", owner).prop_map(|(name, holder)| Command::Assign { name, holder }),
            ("[ab]{1,2}", token).prop_map(|(name, token)| Command::Release { name, token }),
        ]
    }

    proptest! {
        #[test]
        fn apply_is_total_deterministic_and_keeps_the_invariants(commands in prop::collection::vec(any_command(), 0..40)) {
            let (mut a, mut b) = (ClusterState::default(), ClusterState::default());
            let mut highest = Token::default();
            for (i, command) in commands.iter().enumerate() {
                let before = a.clone();
                let outcome = a.apply(i as u64 + 1, command);
                prop_assert_eq!(&outcome, &b.apply(i as u64 + 1, command));
                prop_assert_eq!(&a, &b);
                prop_assert_eq!(a.validate(), Ok(()));
                prop_assert!(a.placement.epoch >= before.placement.epoch);
                match outcome {
                    Outcome::Refused(_) => prop_assert_eq!(&a, &before),
                    Outcome::Assigned(t) => {
                        prop_assert!(t > highest);
                        highest = t;
                    }
                    Outcome::Done => {}
                }
            }
        }
    }
}
