//! `thanos.info.Info`: what this server has and serves.

use cairn_proto::thanos::info::info_server::Info;
use cairn_proto::thanos::info::{
    ExemplarsInfo, InfoRequest, InfoResponse, MetricMetadataInfo, RulesInfo, StatusInfo, StoreInfo,
    TargetsInfo, TsdbInfo,
};
use tonic::{Request, Response, Status};

use super::convert::label_set;
use crate::fanout::Fanout;

/// Answers for all stores together.
pub struct InfoApi {
    fanout: Fanout,
    has_rules: bool,
}

impl InfoApi {
    /// Speaks for `fanout`, and for rules if there is a source of them.
    pub fn new(fanout: Fanout, has_rules: bool) -> Self {
        InfoApi { fanout, has_rules }
    }
}

#[tonic::async_trait]
impl Info for InfoApi {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let stores: Vec<_> =
            self.fanout.stores().iter().map(|s| s.info()).filter(|i| i.min_ms <= i.max_ms).collect();
        let mut tsdb_infos: Vec<TsdbInfo> = Vec::new();
        let mut sets: Vec<_> = stores.iter().flat_map(|i| &i.label_sets).cloned().collect();
        sets.sort();
        sets.dedup();
        for set in &sets {
            let holders = || stores.iter().filter(|i| i.label_sets.contains(set));
            tsdb_infos.push(TsdbInfo {
                labels: Some(label_set(set.as_ref())),
                min_time: holders().map(|i| i.min_ms).min().unwrap_or(0),
                max_time: holders().map(|i| i.max_ms).max().unwrap_or(0),
            });
        }
        Ok(Response::new(InfoResponse {
            label_sets: sets.iter().map(|s| label_set(s.as_ref())).collect(),
            component_type: "receive".to_owned(),
            store: Some(StoreInfo {
                min_time: stores.iter().map(|i| i.min_ms).min().unwrap_or(i64::MAX),
                max_time: stores.iter().map(|i| i.max_ms).max().unwrap_or(i64::MIN),
                supports_sharding: true,
                supports_without_replica_labels: true,
                tsdb_infos,
                supports_projections: false,
            }),
            // Exemplars have no range of their own; Thanos announces all times for them too.
            exemplars: Some(ExemplarsInfo { min_time: i64::MIN, max_time: i64::MAX }),
            rules: self.has_rules.then_some(RulesInfo {}),
            metric_metadata: Some(MetricMetadataInfo {}),
            targets: Some(TargetsInfo {}),
            status: Some(StatusInfo {}),
            query: None,
        }))
    }
}
