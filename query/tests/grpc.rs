//! A client walks every gRPC method of the router, in process: no socket, no clock.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use cairn_model::chunk::{AggrChunk, Aggregates, Chunk, ChunkData, Encoding};
use cairn_model::labels::Labels;
use cairn_model::matcher::Matcher;
use cairn_model::storage::{
    LabelsRequest, Names, Series, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo,
};
use cairn_model::tenant::TenantScope;
use cairn_proto::thanos as wire;
use cairn_proto::thanos::info::info_client::InfoClient;
use cairn_proto::thanos::series_response::Result as Frame;
use cairn_proto::thanos::store_client::StoreClient;
use cairn_query::grpc::{WireChunk, router};
use cairn_query::{Fanout, PartialResponse};
use futures::StreamExt;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

/// A store of fixed series that answers what matches.
struct Memory {
    name: &'static str,
    tenant: &'static str,
    series: Vec<Series>,
    down: bool,
}

#[async_trait]
impl StoreApi for Memory {
    fn info(&self) -> StoreInfo {
        let external = Labels::from_pairs([("tenant_id", self.tenant)]).unwrap();
        StoreInfo { name: self.name.into(), min_ms: 0, max_ms: 1000, label_sets: vec![external] }
    }

    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        if self.down {
            return Err(StoreError::Unavailable { store: self.name.into(), reason: "down".into() });
        }
        let mut found = self.matching(&request.tenants, &request.matchers);
        if request.skip_chunks {
            found.iter_mut().for_each(|s| s.chunks.clear());
        }
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
}

impl Memory {
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

/// Tenant `a` has 10 series `up` in two replicas, tenant `b` one downsampled series in a store that may be down.
fn routes(down: bool) -> Router {
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
    let stores: Vec<Arc<dyn StoreApi>> = vec![
        Arc::new(Memory { name: "one", tenant: "a", series: of_a, down: false }),
        Arc::new(Memory { name: "two", tenant: "b", series: of_b, down }),
    ];
    router(Fanout::new(stores, PartialResponse::Warn, 0), Arc::new(to_wire))
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

fn store() -> StoreClient<Router> {
    StoreClient::new(routes(false))
}

/// Series whose name matches, at all times.
fn select(name: &str) -> wire::SeriesRequest {
    wire::SeriesRequest { min_time: 0, max_time: 1000, matchers: vec![named(name)], ..Default::default() }
}

fn named(name: &str) -> wire::LabelMatcher {
    let r#type = wire::label_matcher::Type::Re.into();
    wire::LabelMatcher { r#type, name: "__name__".into(), value: name.into() }
}

/// The frames of an answer.
async fn frames(routes: Router, request: impl tonic::IntoRequest<wire::SeriesRequest>) -> Vec<Frame> {
    let mut stream = StoreClient::new(routes).series(request).await.unwrap().into_inner();
    let mut frames = Vec::new();
    while let Some(frame) = stream.message().await.unwrap() {
        frames.push(frame.result.expect("no empty frame"));
    }
    frames
}

/// The series of an answer that has nothing else.
async fn answered(request: impl tonic::IntoRequest<wire::SeriesRequest>) -> Vec<wire::Series> {
    let frames = frames(routes(false), request).await;
    let series = frames.into_iter().flat_map(|frame| match frame {
        Frame::Series(s) => vec![s],
        Frame::Batch(b) => b.series,
        other => panic!("{other:?} among series"),
    });
    series.collect()
}

fn flat(series: &[wire::Series]) -> Vec<Vec<(&str, &str)>> {
    series.iter().map(|s| s.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).collect()).collect()
}

#[tokio::test]
async fn info_tells_tenants_times_and_what_is_served() {
    let info = InfoClient::new(routes(false)).info(wire::info::InfoRequest {}).await.unwrap().into_inner();
    let tenants: Vec<_> = info.label_sets.iter().map(|s| s.labels[0].value.as_str()).collect();
    assert_eq!((tenants, info.component_type.as_str()), (vec!["a", "b"], "receive"));
    let store = info.store.unwrap();
    assert_eq!((store.min_time, store.max_time, store.tsdb_infos.len()), (0, 1000, 2));
    assert!(store.supports_sharding && store.supports_without_replica_labels);
}

#[tokio::test]
async fn series_come_sorted_one_a_frame_unless_batches_are_asked_for() {
    let single = frames(routes(false), select("up")).await;
    assert!(single.len() == 20 && single.iter().all(|f| matches!(f, Frame::Series(_))));
    let batched = frames(routes(false), wire::SeriesRequest { response_batch_size: 8, ..select("up") }).await;
    let size = |f: &Frame| match f {
        Frame::Batch(b) => b.series.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(batched.iter().map(size).collect::<Vec<_>>(), [8, 8, 4]);
    let series = answered(select("up")).await;
    assert!(flat(&series).windows(2).all(|w| w[0] < w[1]), "strictly increasing labels");
    let chunk = &series[0].chunks[0];
    assert_eq!((chunk.min_time, chunk.max_time), (0, 100));
    assert_eq!(chunk.raw.as_ref().unwrap().data[..], [0, 0, 0]);
}

#[tokio::test]
async fn chunks_are_left_out_and_series_limited_on_request() {
    let series = answered(wire::SeriesRequest { skip_chunks: true, limit: 3, ..select("up") }).await;
    assert_eq!(series.len(), 3);
    assert!(series.iter().all(|s| s.chunks.is_empty()));
}

#[tokio::test]
async fn shards_together_are_everything_once() {
    for by in [true, false] {
        let mut all = Vec::new();
        for shard_index in 0..3 {
            let shard = wire::ShardInfo { shard_index, total_shards: 3, by, labels: vec!["instance".into()] };
            all.extend(answered(wire::SeriesRequest { shard_info: Some(shard), ..select("up") }).await);
        }
        let mut got = flat(&all);
        got.sort();
        assert_eq!(got, flat(&answered(select("up")).await), "by = {by}");
    }
}

#[tokio::test]
async fn replicas_become_one_sorted_series() {
    let without = vec!["replica".to_owned()];
    let series = answered(wire::SeriesRequest { without_replica_labels: without, ..select("up") }).await;
    assert_eq!(series.len(), 10);
    assert!(flat(&series).iter().flatten().all(|(name, _)| *name != "replica"));
    assert!(flat(&series).windows(2).all(|w| w[0] < w[1]));
    // Both replicas hold the same chunk, which is sent once.
    assert!(series.iter().all(|s| s.chunks.len() == 1));
}

#[tokio::test]
async fn only_the_asked_aggregates_are_sent() {
    let all = answered(select("down")).await;
    let c = &all[0].chunks[0];
    assert!(c.raw.is_none() && [&c.count, &c.sum, &c.min, &c.max, &c.counter].iter().all(|a| a.is_some()));
    let aggregates = vec![wire::Aggr::Count.into(), wire::Aggr::Counter.into()];
    let some = answered(wire::SeriesRequest { aggregates, ..select("down") }).await;
    let c = &some[0].chunks[0];
    assert!(c.sum.is_none() && c.min.is_none() && c.max.is_none());
    assert_eq!(c.count.as_ref().unwrap().data[..], [1, 1, 1]);
    assert_eq!(c.counter.as_ref().unwrap().data[..], [5, 5, 5]);
}

#[tokio::test]
async fn a_tenant_sees_its_own_and_the_default_tenant_everything() {
    for (tenant, count) in [("a", 20), ("b", 1), ("c", 0), ("default-tenant", 21)] {
        let mut request = Request::new(select("up|down"));
        request.metadata_mut().insert("thanos-tenant", tenant.parse().unwrap());
        assert_eq!(answered(request).await.len(), count, "{tenant}");
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_a_warning_or_an_error_as_the_caller_wants() {
    let partial = frames(routes(true), select("up|down")).await;
    assert_eq!(partial.len(), 21);
    let warning = "answer is partial: two: two is unavailable: down";
    assert!(partial.iter().any(|f| matches!(f, Frame::Warning(w) if w == warning)), "{:?}", partial[0]);
    let strategy = wire::PartialResponseStrategy::Abort.into();
    let strict = wire::SeriesRequest { partial_response_strategy: strategy, ..select("up|down") };
    let error = StoreClient::new(routes(true)).series(strict).await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let none = wire::SeriesRequest { matchers: vec![], ..select("up") };
    for request in [select("("), none] {
        assert_eq!(store().series(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let mut tenant = Request::new(select("up"));
    tenant.metadata_mut().insert("thanos-tenant", "../b".parse().unwrap());
    assert_eq!(store().series(tenant).await.unwrap_err().code(), Code::InvalidArgument);
    let unnamed = wire::LabelValuesRequest { start: 0, end: 1000, ..Default::default() };
    assert_eq!(store().label_values(unnamed).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn label_names_and_values_are_sorted_matched_and_limited() {
    let names = wire::LabelNamesRequest { start: 0, end: 1000, ..Default::default() };
    let got = store().label_names(names.clone()).await.unwrap().into_inner();
    assert_eq!(got.names, ["__name__", "instance", "replica", "tenant_id"]);
    let of_b = wire::LabelNamesRequest { matchers: vec![named("down")], ..names.clone() };
    assert_eq!(store().label_names(of_b).await.unwrap().into_inner().names, ["__name__", "tenant_id"]);
    let without_replica_labels = vec!["replica".to_owned()];
    let cut = wire::LabelNamesRequest { without_replica_labels, limit: 2, ..names };
    assert_eq!(store().label_names(cut).await.unwrap().into_inner().names, ["__name__", "instance"]);

    let label = "instance".to_owned();
    let values = wire::LabelValuesRequest { label, start: 0, end: 1000, ..Default::default() };
    let got = store().label_values(values.clone()).await.unwrap().into_inner();
    assert_eq!((got.values.len(), got.values[0].as_str()), (10, "i0"));
    let cut = wire::LabelValuesRequest { limit: 2, ..values.clone() };
    assert_eq!(store().label_values(cut).await.unwrap().into_inner().values, ["i0", "i1"]);
    let of_b = wire::LabelValuesRequest { matchers: vec![named("down")], ..values };
    assert!(store().label_values(of_b).await.unwrap().into_inner().values.is_empty());
}

#[tokio::test]
async fn health_is_serving_and_reflection_lists_the_services() {
    let health = HealthClient::new(routes(false)).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status, 1, "SERVING");

    let list = MessageRequest::ListServices(String::new());
    let asked = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = ServerReflectionClient::new(routes(false));
    let stream = client.server_reflection_info(futures::stream::iter([asked])).await.unwrap();
    let answer = stream.into_inner().next().await.expect("one answer").unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    for service in ["thanos.Store", "thanos.info.Info", "grpc.health.v1.Health"] {
        assert!(names.contains(&service), "{service} is not in {names:?}");
    }
}
