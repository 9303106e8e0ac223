//! `thanos.Metadata`: type, unit and help of metric families, all in one frame.

use std::collections::BTreeMap;

use cairn_model::metadata::Metadata as Family;
use cairn_proto::thanos as wire;
use cairn_proto::thanos::metadata_server::Metadata;
use cairn_proto::thanos::metric_metadata_response::Result as Frame;
use tonic::{Request, Response, Status};

use super::convert::{partial_response, scope, status};
use super::{Frames, stream_of};
use crate::fanout::Fanout;

/// Answers from all stores.
pub struct MetadataApi {
    fanout: Fanout,
}

impl MetadataApi {
    /// Over `fanout`.
    pub fn new(fanout: Fanout) -> Self {
        MetadataApi { fanout }
    }
}

#[tonic::async_trait]
impl Metadata for MetadataApi {
    type MetricMetadataStream = Frames<wire::MetricMetadataResponse>;

    async fn metric_metadata(
        &self,
        request: Request<wire::MetricMetadataRequest>,
    ) -> Result<Response<Self::MetricMetadataStream>, Status> {
        let tenants = scope(request.metadata())?;
        let r = request.into_inner();
        let fanout = self.fanout.with_partial_response(partial_response(r.partial_response_strategy()));
        let metric = (!r.metric.is_empty()).then_some(r.metric.as_str());
        let (found, warnings) = fanout.metadata(&tenants, metric).await.map_err(status)?;
        // Thanos passes the limit on as it came, so 0 means none here as it does in Prometheus.
        let limit = usize::try_from(r.limit).unwrap_or(usize::MAX);
        let warnings = warnings.into_iter().map(Frame::Warning);
        let frames = warnings.chain([Frame::Metadata(families(found, limit))]);
        Ok(stream_of(frames.map(|f| wire::MetricMetadataResponse { result: Some(f) }).collect()))
    }
}

/// The first `limit` families by name, each with the different metadata that its senders gave.
fn families(found: Vec<(String, Family)>, limit: usize) -> wire::MetricMetadata {
    let mut by_name: BTreeMap<String, Vec<wire::Meta>> = BTreeMap::new();
    for (name, family) in found {
        let r#type = family.metric_type.as_str().to_owned();
        let meta = wire::Meta { r#type, help: family.help, unit: family.unit };
        let metas = by_name.entry(name).or_default();
        if !metas.contains(&meta) {
            metas.push(meta);
        }
    }
    let first = by_name.into_iter().take(limit);
    wire::MetricMetadata {
        metadata: first.map(|(name, metas)| (name, wire::MetricMetadataEntry { metas })).collect(),
    }
}
