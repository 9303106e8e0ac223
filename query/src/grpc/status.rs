//! `thanos.Status`: what makes the series of the head, for each tenant, all in one frame.

use std::collections::BTreeMap;

use cairn_model::tenant::{TENANT_LABEL, TenantId, TenantScope};
use cairn_proto::thanos as wire;
use cairn_proto::thanos::status_server::Status as StatusService;
use cairn_proto::thanos::tsdb_statistics_response::Result as Frame;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::convert::{matchers, scope, status};
use super::{Frames, stream_of};
use crate::cardinality::{Counts, DEFAULT_LIMIT, MAX_LIMIT, Stat, TsdbStatus, head, walk};
use crate::fanout::Fanout;

/// Counts the head's series.
pub struct StatusApi {
    fanout: Fanout,
    /// A walk over all series is as dear as a query, so there is one at a time.
    walking: Semaphore,
}

impl StatusApi {
    /// Over `fanout`.
    pub fn new(fanout: Fanout) -> Self {
        StatusApi { fanout, walking: Semaphore::new(1) }
    }
}

#[tonic::async_trait]
impl StatusService for StatusApi {
    type TSDBStatisticsStream = Frames<wire::TsdbStatisticsResponse>;

    async fn tsdb_statistics(
        &self,
        request: Request<wire::TsdbStatisticsRequest>,
    ) -> Result<Response<Self::TSDBStatisticsStream>, Status> {
        let readable = scope(request.metadata())?;
        let r = request.into_inner();
        let tenants = narrowed(readable, &r.tenant)?;
        let limit = usize::try_from(r.limit).ok().filter(|n| *n > 0).unwrap_or(DEFAULT_LIMIT);
        let mut statistics = wire::TsdbStatistics::default();
        if let Some(head) = head(&self.fanout) {
            let _alone = self.walking.acquire().await.expect("the semaphore is never closed");
            let mut by_tenant: BTreeMap<String, Counts> = BTreeMap::new();
            let count = |series: &cairn_model::storage::Series| {
                let tenant = series.labels.get(TENANT_LABEL).unwrap_or_default();
                match by_tenant.get_mut(tenant) {
                    Some(counts) => counts.add(series),
                    None => by_tenant.entry(tenant.to_owned()).or_default().add(series),
                }
            };
            walk(head, tenants, matchers(&r.matchers)?, count).await.map_err(status)?;
            let info = head.info();
            let report =
                |counts: Counts| entry(counts.report(info.min_ms, info.max_ms, limit.min(MAX_LIMIT)));
            statistics.statistics = by_tenant.into_iter().map(|(t, counts)| (t, report(counts))).collect();
        }
        let frame = Frame::Statistics(statistics);
        Ok(stream_of(vec![wire::TsdbStatisticsResponse { result: Some(frame) }]))
    }
}

/// The tenants of a request that names one, or none for all, among those that the caller may read.
fn narrowed(readable: TenantScope, tenant: &str) -> Result<TenantScope, Status> {
    if tenant.is_empty() {
        return Ok(readable);
    }
    let tenant = TenantId::new(tenant).map_err(|e| Status::invalid_argument(e.to_string()))?;
    Ok(TenantScope::Only(match readable {
        TenantScope::All => vec![tenant],
        TenantScope::Only(list) => list.into_iter().filter(|t| *t == tenant).collect(),
    }))
}

fn entry(report: TsdbStatus) -> wire::TsdbStatisticsEntry {
    let list = |stats: Vec<Stat>| {
        stats.into_iter().map(|s| wire::Statistic { name: s.name, value: s.value }).collect()
    };
    let head = report.head_stats;
    wire::TsdbStatisticsEntry {
        head_statistics: Some(wire::HeadStatistics {
            num_series: head.num_series,
            num_label_pairs: head.num_label_pairs as i64,
            chunk_count: head.chunk_count as i64,
            min_time: head.min_time,
            max_time: head.max_time,
        }),
        series_count_by_metric_name: list(report.series_count_by_metric_name),
        label_value_count_by_label_name: list(report.label_value_count_by_label_name),
        memory_in_bytes_by_label_name: list(report.memory_in_bytes_by_label_name),
        series_count_by_label_value_pair: list(report.series_count_by_label_value_pair),
    }
}
