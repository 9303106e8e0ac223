//! An in-memory store for engine tests.
#![allow(dead_code)] // each test binary uses its part

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_model::chunk::{ColumnValues, Columns};
use cairn_model::storage::{
    LabelsRequest, Names, Queryable, SelectedSeries, Series, SeriesRequest, StoreError,
};
use cairn_model::{AggrChunk, Chunk, ChunkData, Labels, TimestampMs, Value};
use cairn_promql::engine::ColumnsOnly;
use cairn_promql::parser::Features;
use cairn_promql::{Engine, EngineOptions};
use cairn_runtime::{CpuPool, ManualClock};

/// Series in memory, one chunk each.
#[derive(Default, Clone)]
pub struct MemoryStore {
    series: Vec<Series>,
}

impl MemoryStore {
    /// Adds a series of floats; samples rise in time.
    pub fn add(&mut self, labels: &[(&str, &str)], samples: &[(TimestampMs, f64)]) {
        let columns = Columns {
            t_ms: samples.iter().map(|s| s.0).collect(),
            values: ColumnValues::Floats(samples.iter().map(|s| s.1).collect()),
            start_ms: Vec::new(),
        };
        self.add_columns(Labels::from_pairs(labels.iter().copied()).unwrap(), columns);
    }

    /// Adds a series of anything.
    pub fn add_values(&mut self, labels: Labels, samples: &[(TimestampMs, Value)]) {
        let columns = Columns {
            t_ms: samples.iter().map(|s| s.0).collect(),
            values: ColumnValues::Mixed(samples.iter().map(|s| s.1.clone()).collect()),
            start_ms: Vec::new(),
        };
        self.add_columns(labels, columns);
    }

    /// Adds a series as columns.
    pub fn add_columns(&mut self, labels: Labels, columns: Columns) {
        let (Some(min), Some(max)) = (columns.t_ms.first(), columns.t_ms.last()) else { return };
        let chunk = Chunk { min_ms: *min, max_ms: *max, data: ChunkData::Columns(Arc::new(columns)) };
        self.series.push(Series { labels, chunks: vec![AggrChunk::Raw(chunk)] });
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }

    pub fn series(&self) -> &[Series] {
        &self.series
    }
}

#[async_trait]
impl Queryable for MemoryStore {
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        let matches = |s: &&Series| request.matchers.iter().all(|m| m.matches_labels(s.labels.as_ref()));
        let mut series: Vec<Series> = self.series.iter().filter(matches).cloned().collect();
        for s in &mut series {
            s.chunks.retain(|c| c.max_ms() >= request.min_ms && c.min_ms() <= request.max_ms);
        }
        series.retain(|s| !s.chunks.is_empty());
        Ok(SelectedSeries { series, warnings: Vec::new() })
    }

    async fn label_names(&self, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }

    async fn label_values(&self, _: &str, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }
}

/// An engine with everything experimental on, over data in columns.
pub fn engine(edit: impl FnOnce(&mut EngineOptions)) -> Engine {
    let clock = Arc::new(ManualClock::starting_at(0));
    let mut options = EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), clock);
    options.features = Features::all();
    options.timeout = Duration::from_secs(100);
    edit(&mut options);
    Engine::new(options)
}

/// Runs a future to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
