//! An API over stores in memory.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use cairn_model::chunk::{AggrChunk, Aggregates, Chunk, ChunkData, ColumnValues, Columns};
use cairn_model::labels::Labels;
use cairn_model::storage::{
    LabelsRequest, Names, Series, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo,
};
use cairn_model::tenant::TenantScope;
use cairn_promql::engine::ColumnsOnly;
use cairn_promql::{Engine, EngineOptions};
use cairn_query::{ApiOptions, Fanout, PartialResponse, QueryApi};
use cairn_runtime::{CpuPool, ManualClock, MemDisk, Runtime, TcpNet};
use futures::StreamExt;
use serde_json::Value;
use tower::ServiceExt;

/// Series of one tenant. Answers matching series whole; downsampled ones only where the request lets them.
pub struct Memory {
    pub name: &'static str,
    pub tenant: &'static str,
    pub series: Vec<Series>,
    pub down: bool,
}

#[async_trait]
impl StoreApi for Memory {
    fn info(&self) -> StoreInfo {
        let external = Labels::from_pairs([("tenant_id", self.tenant)]).unwrap();
        StoreInfo { name: self.name.into(), min_ms: 0, max_ms: 100_000_000, label_sets: vec![external] }
    }

    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        if self.down {
            return Err(StoreError::Unavailable { store: self.name.into(), reason: "down".into() });
        }
        let readable = match &request.tenants {
            TenantScope::All => true,
            TenantScope::Only(list) => list.iter().any(|t| t.as_str() == self.tenant),
        };
        let fits = |s: &&Series| {
            readable && request.matchers.iter().all(|m| m.matches(s.labels.get(&m.name).unwrap_or("")))
        };
        let mut found: Vec<Series> = self.series.iter().filter(fits).cloned().collect();
        let coarse = request.max_resolution_ms >= 300_000;
        for s in &mut found {
            s.chunks.retain(|c| matches!(c, AggrChunk::Downsampled(_)) == coarse || request.skip_chunks);
            if request.skip_chunks {
                s.chunks.clear();
            }
        }
        Ok(futures::stream::iter([Ok(found)]).boxed())
    }

    async fn label_names(&self, _: LabelsRequest) -> Result<Names, StoreError> {
        let values = self.series.iter().flat_map(|s| s.labels.iter().map(|(n, _)| n.to_owned())).collect();
        Ok(Names { values, warnings: vec![] })
    }

    async fn label_values(&self, name: &str, _: LabelsRequest) -> Result<Names, StoreError> {
        let values = self.series.iter().filter_map(|s| s.labels.get(name).map(str::to_owned)).collect();
        Ok(Names { values, warnings: vec![] })
    }
}

/// A chunk of floats.
pub fn chunk(points: &[(i64, f64)]) -> Chunk {
    let (t_ms, values): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
    let (min_ms, max_ms) = (t_ms[0], t_ms[t_ms.len() - 1]);
    let columns = Columns { t_ms, values: ColumnValues::Floats(values), start_ms: vec![] };
    Chunk { min_ms, max_ms, data: ChunkData::Columns(Arc::new(columns)) }
}

/// A series of raw samples, and the same downsampled when `coarse` is given.
pub fn series(pairs: &[(&str, &str)], raw: &[(i64, f64)], coarse: Option<Aggregates>) -> Series {
    let mut chunks = vec![AggrChunk::Raw(chunk(raw))];
    chunks.extend(coarse.map(|a| AggrChunk::Downsampled(Box::new(a))));
    Series { labels: Labels::from_pairs(pairs.iter().copied()).unwrap(), chunks }
}

/// What is served.
pub struct World {
    pub stores: Vec<Memory>,
    pub replica_labels: Vec<String>,
    pub auto_downsampling: bool,
}

impl World {
    /// Its API.
    pub fn api(self) -> Arc<QueryApi> {
        let clock = Arc::new(ManualClock::starting_at(1_000_000));
        let runtime = Runtime {
            clock: clock.clone(),
            ..Runtime::simulated(1, 0, Arc::new(TcpNet), Arc::new(MemDisk::new()))
        };
        let engine = Engine::new(EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), clock));
        let stores = self.stores.into_iter().map(|s| Arc::new(s) as Arc<dyn StoreApi>).collect();
        let options = ApiOptions {
            version: "1.2.3".into(),
            max_concurrent: 4,
            timeout_ms: 60_000,
            replica_labels: self.replica_labels,
            auto_downsampling: self.auto_downsampling,
        };
        QueryApi::new(engine, Fanout::new(stores, PartialResponse::Warn, 0), runtime, options)
    }
}

/// An answer.
pub struct Asked {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// Text of a refusal.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a request.
pub async fn ask(routes: &Router, request: Request<Body>) -> Asked {
    let answer = routes.clone().oneshot(request).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = axum::body::to_bytes(answer.into_body(), 1 << 26).await.unwrap().to_vec();
    Asked { status, headers, body }
}

/// GET with decoded parameters.
pub async fn get(routes: &Router, path: &str, parameters: &[(&str, &str)]) -> Asked {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    ask(routes, Request::get(format!("{path}?{query}")).body(Body::empty()).unwrap()).await
}
