//! A network without peers: the group has one voter, so Raft never has anybody to call.

use std::future::Future;

use openraft::alias::{SnapshotOf, VoteOf};
use openraft::error::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2};

use crate::store::RaftTypes;

/// Answers every call with "unreachable".
pub struct NoPeers;

/// A peer that does not exist.
pub struct NoPeer;

fn unreachable() -> Unreachable<RaftTypes> {
    Unreachable::new(&AnyError::error("this cluster has one voter; joining nodes are not supported yet"))
}

impl RaftNetworkFactory<RaftTypes> for NoPeers {
    type Network = NoPeer;

    async fn new_client(&mut self, _: u64, _: &openraft::BasicNode) -> NoPeer {
        NoPeer
    }
}

impl RaftNetworkV2<RaftTypes> for NoPeer {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        _: AppendEntriesRequest<RaftTypes>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes>, RPCError<RaftTypes>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn vote(
        &mut self,
        _: VoteRequest<RaftTypes>,
        _: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RPCError<RaftTypes>> {
        Err(RPCError::Unreachable(unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _: VoteOf<RaftTypes>,
        _: SnapshotOf<RaftTypes, Vec<u8>>,
        _: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes>, StreamingError<RaftTypes>> {
        Err(StreamingError::Unreachable(unreachable()))
    }
}
