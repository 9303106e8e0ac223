//! Two stores of fixed series behind the router, in process.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use cairn_model::TimestampMs;
use cairn_model::chunk::{AggrChunk, Aggregates, Chunk, ChunkData, Encoding};
use cairn_model::exemplar::Exemplar;
use cairn_model::labels::Labels;
use cairn_model::matcher::Matcher;
use cairn_model::memory_share::MemoryShare;
use cairn_model::metadata::{Metadata, MetricType};
use cairn_model::rules::RulesSource;
use cairn_model::storage::{
    LabelsRequest, Names, Series, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo,
};
use cairn_model::tenant::TenantScope;
use cairn_promql::engine::{ColumnsOnly, QueryBounds, TenantBounds};
use cairn_promql::{Engine, EngineOptions};
use cairn_query::grpc::{Sources, WireChunk, router};
use cairn_query::{Fanout, PartialResponse};
use cairn_runtime::{CpuPool, ManualClock};
use futures::StreamExt;
use parking_lot::Mutex;

/// A store of fixed series that answers what matches.
struct Memory {
    name: &'static str,
    tenant: &'static str,
    series: Vec<Series>,
    down: bool,
    asked: Arc<Mutex<Vec<SeriesRequest>>>,
}

#[async_trait]
impl StoreApi for Memory {
    fn info(&self) -> StoreInfo {
        let external = Labels::from_pairs([("tenant_id", self.tenant)]).unwrap();
        StoreInfo { name: self.name.into(), min_ms: 0, max_ms: 1000, label_sets: vec![external] }
    }

    async fn series(&self, mut request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        self.up()?;
        request.bounds.held = Arc::default(); // what is kept below must not hold the call's memory
        let mut found = self.matching(&request.tenants, &request.matchers);
        if request.skip_chunks {
            found.iter_mut().for_each(|s| s.chunks.clear());
        }
        self.asked.lock().push(request);
        Ok(futures::stream::iter([Ok(found)]).boxed())
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        let found = self.matching(&request.tenants, &request.matchers);
        let values = found.iter().flat_map(|s| s.labels.iter().map(|(n, _)| n.to_owned())).collect();
        Ok(Names { values, warnings: vec![] })
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        let found = self.matching(&request.tenants, &request.matchers);
        let values = found.iter().filter_map(|s| s.labels.get(name).map(str::to_owned)).collect();
        Ok(Names { values, warnings: vec![] })
    }

    /// One a series, at the time of the series' first chunk.
    async fn exemplars(
        &self,
        tenants: &TenantScope,
        matchers: &[Vec<Matcher>],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, StoreError> {
        self.up()?;
        let found = matchers.iter().flat_map(|m| self.matching(tenants, m));
        let exemplar = |s: &Series| {
            let AggrChunk::Raw(chunk) = s.chunks.first()? else { return None };
            let labels = Labels::from_pairs([("trace_id", "t1")]).unwrap();
            Some(Exemplar { labels, value: 1.5, t_ms: chunk.min_ms })
        };
        let all = found.filter_map(|s| Some((s.labels.clone(), vec![exemplar(&s)?])));
        Ok(all.filter(|(_, e)| (min_ms..=max_ms).contains(&e[0].t_ms)).collect())
    }

    /// A family `up` with a text of the store's own, and one named like the store.
    async fn metadata(
        &self,
        _: &TenantScope,
        metric: Option<&str>,
    ) -> Result<Vec<(String, Metadata)>, StoreError> {
        self.up()?;
        let family = |name: &str| {
            let help = format!("{name} by {}", self.name);
            (name.to_owned(), Metadata { metric_type: MetricType::Gauge, unit: "seconds".into(), help })
        };
        let all = [family("up"), family(self.name)];
        Ok(all.into_iter().filter(|(name, _)| metric.is_none_or(|m| m == name)).collect())
    }
}

impl Memory {
    fn up(&self) -> Result<(), StoreError> {
        match self.down {
            true => Err(StoreError::Unavailable { store: self.name.into(), reason: "down".into() }),
            false => Ok(()),
        }
    }

    fn matching(&self, tenants: &TenantScope, matchers: &[Matcher]) -> Vec<Series> {
        let readable = match tenants {
            TenantScope::All => true,
            TenantScope::Only(list) => list.iter().any(|t| t.as_str() == self.tenant),
        };
        let fits = |s: &&Series| matchers.iter().all(|m| m.matches(s.labels.get(&m.name).unwrap_or("")));
        if readable { self.series.iter().filter(fits).cloned().collect() } else { Vec::new() }
    }
}

fn chunk(byte: u8, min_ms: i64, max_ms: i64) -> Chunk {
    Chunk { min_ms, max_ms, data: ChunkData::Encoded(Encoding::Xor, Bytes::from(vec![byte; 3])) }
}

fn series(pairs: &[(&str, &str)], chunks: Vec<AggrChunk>) -> Series {
    Series { labels: Labels::from_pairs(pairs.iter().copied()).unwrap(), chunks }
}

/// What a test may choose.
#[derive(Default)]
pub struct World {
    /// The second store cannot be reached.
    pub down: bool,
    /// Source of the Rules API.
    pub rules: Option<Arc<dyn RulesSource>>,
    /// What tenant `a` may read.
    pub bounds: QueryBounds,
    /// What all calls share.
    pub memory: Option<Arc<MemoryShare>>,
    /// What the stores were asked for.
    pub asked: Arc<Mutex<Vec<SeriesRequest>>>,
}

impl World {
    /// Tenant `a` has 10 series `up` in two replicas in the head, tenant `b` one downsampled series in a store that
    /// may be down.
    pub fn routes(self) -> Router {
        let mut of_a = Vec::new();
        for i in 0..10 {
            for replica in ["r1", "r2"] {
                let instance = format!("i{i}");
                let labels =
                    [("__name__", "up"), ("instance", &instance), ("replica", replica), ("tenant_id", "a")];
                of_a.push(series(&labels, vec![AggrChunk::Raw(chunk(i, i64::from(i), 100))]));
            }
        }
        let aggregates = Aggregates {
            min_ms: 0,
            max_ms: 100,
            count: Some(chunk(1, 0, 100)),
            sum: Some(chunk(2, 0, 100)),
            min: Some(chunk(3, 0, 100)),
            max: Some(chunk(4, 0, 100)),
            counter: Some(chunk(5, 0, 100)),
        };
        let labels = [("__name__", "down"), ("tenant_id", "b")];
        let of_b = vec![series(&labels, vec![AggrChunk::Downsampled(Box::new(aggregates))])];
        let store = |name, tenant, series, down| {
            Arc::new(Memory { name, tenant, series, down, asked: self.asked.clone() }) as Arc<dyn StoreApi>
        };
        let stores = vec![store("head", "a", of_a, false), store("two", "b", of_b, self.down)];
        router(Sources {
            fanout: Fanout::new(stores, PartialResponse::Warn, 0),
            to_wire: Arc::new(to_wire),
            rules: self.rules,
            engine: engine(self.bounds, self.memory),
        })
    }
}

/// An engine whose queries have `bounds` when they read tenant `a`, on a clock that stands still.
fn engine(bounds: QueryBounds, memory: Option<Arc<MemoryShare>>) -> Engine {
    let clock = Arc::new(ManualClock::starting_at(0));
    let mut options = EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), clock);
    options.tenant_bounds = Some(Arc::new(OfA(bounds)));
    options.memory = memory;
    Engine::new(options)
}

struct OfA(QueryBounds);

impl TenantBounds for OfA {
    fn bounds(&self, tenants: &TenantScope) -> QueryBounds {
        if tenants.contains("a") && *tenants != TenantScope::All { self.0 } else { QueryBounds::default() }
    }
}

/// The routes of a world without rules.
pub fn routes(down: bool) -> Router {
    World { down, ..World::default() }.routes()
}

fn to_wire(chunk: &Chunk) -> Result<Vec<WireChunk>, String> {
    match &chunk.data {
        ChunkData::Encoded(encoding, data) => {
            let (min_ms, max_ms) = (chunk.min_ms, chunk.max_ms);
            Ok(vec![WireChunk { encoding: *encoding, data: data.clone(), min_ms, max_ms }])
        }
        ChunkData::Columns(_) => Err("these tests have no columns".into()),
    }
}
