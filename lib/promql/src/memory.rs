//! A store in memory and an engine over it: for the test language, rule unit tests and tools, which bring their
//! own data and need no server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cairn_model::chunk::{ColumnValues, Columns};
use cairn_model::sample::Sample;
use cairn_model::storage::{
    LabelsRequest, Names, Queryable, SelectedSeries, Series, SeriesRequest, StoreError,
};
use cairn_model::{AggrChunk, Chunk, ChunkData, Labels, TimestampMs, Value};
use cairn_runtime::{CpuPool, ManualClock};
use futures::FutureExt;

use crate::engine::{ColumnsOnly, Engine, EngineOptions, QueryError, QueryOptions, QueryResult};
use crate::parser::Features;
use crate::testlang::{LoadedSeries, TestAnswer, TestEngine};

/// Series in memory. Samples may come in any order; of two at one time the later added counts.
#[derive(Debug, Default, Clone)]
pub struct MemoryStore {
    samples: BTreeMap<Labels, BTreeMap<TimestampMs, Sample>>,
    /// What selects answer, made anew when something was added.
    series: Vec<Series>,
}

impl MemoryStore {
    /// Adds samples to the series with these labels.
    pub fn add(&mut self, labels: Labels, samples: impl IntoIterator<Item = Sample>) {
        let series = self.samples.entry(labels.clone()).or_default();
        series.extend(samples.into_iter().map(|s| (s.t_ms, s)));
        let made = to_series(labels, series);
        match self.series.binary_search_by(|s| s.labels.cmp(&made.labels)) {
            Ok(i) => self.series[i] = made,
            Err(i) => self.series.insert(i, made),
        }
    }

    /// Adds floats to the series with these labels.
    pub fn add_floats(&mut self, labels: Labels, samples: impl IntoIterator<Item = (TimestampMs, f64)>) {
        self.add(
            labels,
            samples.into_iter().map(|(t_ms, v)| Sample { t_ms, start_ms: 0, value: Value::Float(v) }),
        );
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        *self = MemoryStore::default();
    }

    fn matching(&self, request: &SeriesRequest) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|s| {
            request.matchers.iter().all(|m| m.matches_labels(s.labels.as_ref()))
                && s.chunks.iter().any(|c| c.max_ms() >= request.min_ms && c.min_ms() <= request.max_ms)
        })
    }
}

fn to_series(labels: Labels, samples: &BTreeMap<TimestampMs, Sample>) -> Series {
    let floats: Option<Vec<f64>> = samples
        .values()
        .map(|s| match s.value {
            Value::Float(v) => Some(v),
            _ => None,
        })
        .collect();
    let values = match floats {
        Some(floats) => ColumnValues::Floats(floats),
        None => ColumnValues::Mixed(samples.values().map(|s| s.value.clone()).collect()),
    };
    let starts = samples.values().any(|s| s.start_ms != 0);
    let columns = Columns {
        t_ms: samples.keys().copied().collect(),
        values,
        start_ms: if starts { samples.values().map(|s| s.start_ms).collect() } else { Vec::new() },
    };
    let bounds = columns.t_ms.first().copied().zip(columns.t_ms.last().copied());
    let chunks = bounds.map(|(min_ms, max_ms)| {
        AggrChunk::Raw(Chunk { min_ms, max_ms, data: ChunkData::Columns(Arc::new(columns)) })
    });
    Series { labels, chunks: chunks.into_iter().collect() }
}

#[async_trait]
impl Queryable for MemoryStore {
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        Ok(SelectedSeries { series: self.matching(&request).cloned().collect(), warnings: Vec::new() })
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        let request = SeriesRequest::new(request.min_ms, request.max_ms, request.matchers);
        let mut values: Vec<String> =
            self.matching(&request).flat_map(|s| s.labels.iter().map(|(n, _)| n.to_owned())).collect();
        values.sort();
        values.dedup();
        Ok(Names { values, warnings: Vec::new() })
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        let request = SeriesRequest::new(request.min_ms, request.max_ms, request.matchers);
        let mut values: Vec<String> =
            self.matching(&request).filter_map(|s| s.labels.get(name).map(str::to_owned)).collect();
        values.sort();
        values.dedup();
        Ok(Names { values, warnings: Vec::new() })
    }
}

/// An engine over a [`MemoryStore`] of its own that computes on the caller's thread. Its clock stands still, so a
/// query has all the time it needs.
pub struct MemoryEngine {
    /// The data.
    pub store: MemoryStore,
    engine: Engine,
}

impl MemoryEngine {
    /// With the options that `edit` makes of Prometheus' defaults.
    pub fn new(edit: impl FnOnce(&mut EngineOptions)) -> Self {
        let clock = Arc::new(ManualClock::starting_at(0));
        let mut options = EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), clock);
        edit(&mut options);
        MemoryEngine { store: MemoryStore::default(), engine: Engine::new(options) }
    }

    /// As the test language expects it: everything experimental, delayed name removal and start timestamps on.
    pub fn for_tests() -> Self {
        MemoryEngine::new(|o| {
            o.features = Features::all();
            o.delayed_name_removal = true;
            o.start_timestamps = true;
            o.timeout = Duration::from_secs(100);
        })
    }

    /// Evaluates at one time.
    ///
    /// # Errors
    /// See [`Engine::instant`].
    pub fn query_instant(&self, query: &str, t_ms: TimestampMs) -> Result<QueryResult, QueryError> {
        done(self.engine.instant(&self.store, query, t_ms, &QueryOptions::default()))
    }

    /// Evaluates from `start_ms` in steps of `step_ms` as far as `end_ms`, both included.
    ///
    /// # Errors
    /// See [`Engine::range`].
    pub fn query_range(
        &self,
        query: &str,
        start_ms: TimestampMs,
        end_ms: TimestampMs,
        step_ms: i64,
    ) -> Result<QueryResult, QueryError> {
        done(self.engine.range(&self.store, query, start_ms, end_ms, step_ms, &QueryOptions::default()))
    }
}

/// Nothing here waits: the store answers at once and the pool computes in place.
fn done<T>(future: impl Future<Output = Result<T, QueryError>>) -> Result<T, QueryError> {
    future.now_or_never().unwrap_or_else(|| Err(QueryError::Internal("a query in memory waited".to_owned())))
}

fn answer(result: Result<QueryResult, QueryError>) -> Result<TestAnswer, String> {
    let r = result.map_err(|e| e.to_string())?;
    Ok(TestAnswer { value: r.value, warnings: r.warnings, infos: r.infos })
}

impl TestEngine for MemoryEngine {
    fn clear(&mut self) {
        self.store.clear();
    }

    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), String> {
        for s in series {
            self.store.add(s.labels, s.samples);
        }
        Ok(())
    }

    fn instant(&mut self, query: &str, t_ms: TimestampMs) -> Result<TestAnswer, String> {
        answer(self.query_instant(query, t_ms))
    }

    fn range(
        &mut self,
        query: &str,
        start_ms: TimestampMs,
        end_ms: TimestampMs,
        step_ms: i64,
    ) -> Result<TestAnswer, String> {
        answer(self.query_range(query, start_ms, end_ms, step_ms))
    }
}

/// Evaluates arbitrary bytes as a query over a few series of every kind, with small budgets: it must end in an
/// answer or an error. For fuzzing.
pub fn fuzz_evaluate(data: &[u8]) {
    const LOAD: &str = r#"load 15s
      f_total{a="x",b="p"} 0+3x20 0+1x10 stale _x3 5 NaN Inf
      f_total{a="y",b="p"} 1 2 _ 4 3 2 1
      h{a="x"} {{schema:0 count:3 sum:5 buckets:[1 2]}}+{{schema:0 count:3 sum:5 buckets:[1 2]}}x10 7 {{schema:1 count:1 buckets:[1]}}
      h{a="y"} {{schema:-53 custom_values:[1 2] count:3 sum:5 buckets:[1 1 1]}}x10
      c_bucket{le="1"} 0+1x30
      c_bucket{le="+Inf"} 0+2x30
      target_info{instance="i",job="j",data="d"} 1x30
      up{instance="i",job="j"} 1x30"#;
    let Ok(query) = std::str::from_utf8(data) else { return };
    let mut engine = MemoryEngine::new(|o| {
        o.features = Features::all();
        o.start_timestamps = true;
        o.delayed_name_removal = data.len() % 2 == 1;
        o.max_samples = 20_000;
        o.max_steps = 2_000;
    });
    let script = crate::testlang::Script::parse(LOAD).expect("the data above is well formed");
    crate::testlang::run(&script, &mut engine);
    let _ = engine.query_instant(query, 200_000);
    let _ = engine.query_range(query, 30_000, 400_000, 37_000);
}
