//! The stores as one request wants to see them: replicas joined, one shard, some stores.

use async_trait::async_trait;
use cairn_model::storage::{
    LabelsRequest, Names, Queryable, SelectedSeries, SeriesRequest, StoreError, WantedLabels,
};
use cairn_runtime::CpuPool;

use crate::dedup::Deduplication;
use crate::fanout::Fanout;
use crate::shard::Shard;

/// A request's view.
pub struct View {
    /// The stores.
    pub fanout: Fanout,
    /// Joins replicas.
    pub dedup: Option<Deduplication>,
    /// Only these series.
    pub shard: Option<Shard>,
    /// Where replicas are decoded.
    pub cpu: CpuPool,
}

#[async_trait]
impl Queryable for View {
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        if self.dedup.is_none() && self.shard.is_none() {
            return self.fanout.select(request).await;
        }
        let (limit, range, func) =
            (request.limit, (request.min_ms, request.max_ms), request.hints.func.clone());
        // What is dropped or joined below must not count, and that is told by all labels.
        let labels = WantedLabels::All;
        let mut selected = self.fanout.select(SeriesRequest { limit: 0, labels, ..request }).await?;
        if let Some(dedup) = &self.dedup {
            dedup.strip(&mut selected.series);
        }
        if let Some(shard) = &self.shard {
            selected.series.retain(|s| shard.holds(&s.labels));
        }
        if let Some(dedup) = self.dedup.clone() {
            let series = std::mem::take(&mut selected.series);
            let merged = self.cpu.run(move || dedup.merge(series, range, &func)).await;
            let failed = |reason: String| StoreError::Read { object: "replicas".into(), reason };
            selected.series = merged.map_err(|panic| failed(panic.to_string()))??;
        }
        if limit > 0 {
            selected.series.truncate(limit);
        }
        Ok(selected)
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        self.fanout.label_names(request).await
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        self.fanout.label_values(name, request).await
    }
}
