//! The engine over a store in memory: what scripts and rule tests run against.
//!
//! Everything happens on the caller's thread: data is in columns, nothing waits. Samples of a series must come in
//! order of time, as a store without an out-of-order window wants them.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use cairn_model::chunk::{ColumnValues, Columns};
use cairn_model::sample::Sample;
use cairn_model::storage::{
    LabelsRequest, Names, Queryable, SelectedSeries, Series, SeriesRequest, StoreError,
};
use cairn_model::{AggrChunk, Chunk, ChunkData, Labels, Matcher, TimestampMs};
use cairn_runtime::{Clock, CpuPool};

use super::load::LoadedSeries;
use super::runner::{TestAnswer, TestEngine};
use crate::engine::{ColumnsOnly, Engine, EngineOptions, QueryError, QueryOptions, QueryResult};
use crate::parser::Features;

/// Series in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    series: BTreeMap<Labels, Vec<Sample>>,
}

impl MemoryStore {
    /// Adds samples behind those that the series has. A sample that is there already changes nothing.
    ///
    /// # Errors
    /// When a sample is not later than the series' last one.
    pub fn append(&mut self, labels: Labels, samples: Vec<Sample>) -> Result<(), String> {
        let stored = self.series.entry(labels).or_default();
        for sample in samples {
            match stored.last() {
                Some(last) if sample == *last => {}
                Some(last) if sample.t_ms == last.t_ms => {
                    return Err(format!("duplicate sample for timestamp {}", sample.t_ms));
                }
                Some(last) if sample.t_ms < last.t_ms => {
                    return Err(format!("out of order sample: {} behind {}", sample.t_ms, last.t_ms));
                }
                _ => stored.push(sample),
            }
        }
        Ok(())
    }

    fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = (&Labels, &[Sample])> {
        let matches = |labels: &Labels| matchers.iter().all(|m| m.matches_labels(labels.as_ref()));
        self.series.iter().filter(move |(l, _)| matches(l)).map(|(l, s)| (l, s.as_slice()))
    }
}

/// The samples of a series between two times, both included, as one chunk.
fn chunk(samples: &[Sample], min_ms: TimestampMs, max_ms: TimestampMs) -> Option<AggrChunk> {
    let from = samples.partition_point(|s| s.t_ms < min_ms);
    let to = samples.partition_point(|s| s.t_ms <= max_ms);
    let samples = samples.get(from..to)?;
    let (first, last) = (samples.first()?, samples.last()?);
    let columns = Columns {
        t_ms: samples.iter().map(|s| s.t_ms).collect(),
        values: ColumnValues::Mixed(samples.iter().map(|s| s.value.clone()).collect()),
        start_ms: samples.iter().map(|s| s.start_ms).collect(),
    };
    let data = ChunkData::Columns(Arc::new(columns));
    Some(AggrChunk::Raw(Chunk { min_ms: first.t_ms, max_ms: last.t_ms, data }))
}

#[async_trait]
impl Queryable for MemoryStore {
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        let series = self.matching(&request.matchers).filter_map(|(labels, samples)| {
            let chunk = chunk(samples, request.min_ms, request.max_ms)?;
            Some(Series { labels: labels.clone(), chunks: vec![chunk] })
        });
        Ok(SelectedSeries { series: series.collect(), warnings: Vec::new() })
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        let names = self.matching(&request.matchers).flat_map(|(l, _)| l.iter()).map(|(n, _)| n.to_owned());
        let sorted: std::collections::BTreeSet<String> = names.collect();
        Ok(Names { values: sorted.into_iter().collect(), warnings: Vec::new() })
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        let values = self.matching(&request.matchers).filter_map(|(l, _)| l.get(name)).map(str::to_owned);
        let sorted: std::collections::BTreeSet<String> = values.collect();
        Ok(Names { values: sorted.into_iter().collect(), warnings: Vec::new() })
    }
}

/// The engine with a [`MemoryStore`].
pub struct MemoryEngine {
    /// The data.
    pub store: MemoryStore,
    engine: Engine,
}

impl MemoryEngine {
    /// An engine as promqltest files expect it, see [`TestEngine`].
    pub fn for_scripts(clock: Arc<dyn Clock>) -> Self {
        let mut options = EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), clock);
        options.features = Features::all();
        options.delayed_name_removal = true;
        options.start_timestamps = true;
        Self::new(options)
    }

    /// An engine with the given options, on the caller's thread.
    pub fn new(options: EngineOptions) -> Self {
        let options = EngineOptions { decoder: Arc::new(ColumnsOnly), cpu: CpuPool::inline(), ..options };
        MemoryEngine { store: MemoryStore::default(), engine: Engine::new(options) }
    }
}

impl TestEngine for MemoryEngine {
    fn clear(&mut self) {
        self.store = MemoryStore::default();
    }

    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), String> {
        series.into_iter().try_for_each(|s| {
            let labels = s.labels.clone();
            self.store.append(s.labels, s.samples).map_err(|e| format!("{labels}: {e}"))
        })
    }

    fn instant(&mut self, query: &str, t_ms: TimestampMs) -> Result<TestAnswer, String> {
        answer(self.engine.instant(&self.store, query, t_ms, &QueryOptions::default()))
    }

    fn range(
        &mut self,
        query: &str,
        start_ms: TimestampMs,
        end_ms: TimestampMs,
        step_ms: i64,
    ) -> Result<TestAnswer, String> {
        answer(self.engine.range(&self.store, query, start_ms, end_ms, step_ms, &QueryOptions::default()))
    }
}

/// Runs a query that has nothing to wait for.
fn answer(query: impl Future<Output = Result<QueryResult, QueryError>>) -> Result<TestAnswer, String> {
    match pin!(query).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(r)) => Ok(TestAnswer { value: r.value, warnings: r.warnings, infos: r.infos }),
        Poll::Ready(Err(e)) => Err(e.to_string()),
        Poll::Pending => Err("cannot evaluate: the query waits, although its data is in memory".to_owned()),
    }
}
