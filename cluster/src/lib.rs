//! Raft control plane: members, placement, epochs, sessions, assignments with fencing tokens. Never samples.
