//! `thanos.Targets`: cairn scrapes nothing, so the answer is one frame without targets.

use cairn_proto::thanos as wire;
use cairn_proto::thanos::targets_response::Result as Frame;
use cairn_proto::thanos::targets_server::Targets;
use tonic::{Request, Response, Status};

use super::{Frames, stream_of};

/// Answers that there are none.
pub struct TargetsApi;

#[tonic::async_trait]
impl Targets for TargetsApi {
    type TargetsStream = Frames<wire::TargetsResponse>;

    async fn targets(
        &self,
        _: Request<wire::TargetsRequest>,
    ) -> Result<Response<Self::TargetsStream>, Status> {
        let none = Frame::Targets(wire::TargetDiscovery::default());
        Ok(stream_of(vec![wire::TargetsResponse { result: Some(none) }]))
    }
}
