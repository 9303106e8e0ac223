//! `thanos.Store`: order, frames, batches, limits, shards, replicas, aggregates, tenants, failures.

use axum::Router;
use cairn_model::memory_share::{Held, MemoryShare};
use cairn_promql::engine::QueryBounds;
use cairn_proto::thanos as wire;
use cairn_proto::thanos::series_response::Result as Frame;
use cairn_proto::thanos::store_client::StoreClient;
use tonic::{Code, Request};

use xxhash_rust::xxh64::xxh64;

use crate::world::{World, routes};

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
async fn an_answer_holds_its_memory_until_it_was_sent_and_calls_beyond_the_share_are_refused() {
    let share = MemoryShare::of(1_000_000);
    let routes = World { memory: Some(share.clone()), ..World::default() }.routes();
    let stream = StoreClient::new(routes.clone()).series(select("up")).await.unwrap().into_inner();
    let held = share.held();
    assert!(held > 0, "all of it is still to be sent");
    // Somebody else holds the most of it.
    let other = Held::of(Some(share.clone()));
    other.add(1_000_000 - held).unwrap();
    let refused = StoreClient::new(routes.clone()).series(select("up")).await.unwrap_err();
    assert!(refused.message().contains("the limit is 1000000: try again"), "{refused}");
    drop(other);
    drop(stream);
    assert_eq!(share.held(), 0);
    assert_eq!(frames(routes, select("up")).await.len(), 20);
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
async fn a_shard_is_found_by_thanos_hash() {
    for i in 0..3 {
        let labels = vec!["instance".to_owned(), "replica".to_owned()];
        let shard = wire::ShardInfo { shard_index: i, total_shards: 3, by: true, labels };
        let got = answered(wire::SeriesRequest { shard_info: Some(shard), ..select("up") }).await;
        let everything = answered(select("up")).await;
        let wanted: Vec<_> = flat(&everything)
            .into_iter()
            .filter(|pairs| {
                let listed = pairs.iter().filter(|(n, _)| matches!(*n, "instance" | "replica"));
                let bytes: Vec<u8> = listed
                    .flat_map(|(n, v)| [n.as_bytes(), &[0xff], v.as_bytes(), &[0xff]].concat())
                    .collect();
                xxh64(&bytes, 0) % 3 == i as u64
            })
            .collect();
        assert!(!wanted.is_empty());
        assert_eq!(flat(&got), wanted, "shard {i}");
    }
}

#[tokio::test]
async fn a_limit_counts_the_series_of_the_shard() {
    let shard =
        wire::ShardInfo { shard_index: 1, total_shards: 2, by: true, labels: vec!["instance".into()] };
    let whole = answered(wire::SeriesRequest { shard_info: Some(shard.clone()), ..select("up") }).await;
    let cut = answered(wire::SeriesRequest { shard_info: Some(shard), limit: 3, ..select("up") }).await;
    assert!(whole.len() > 3);
    assert_eq!(flat(&cut), flat(&whole)[..3]);
}

#[tokio::test]
async fn stores_are_told_resolution_purpose_and_limit() {
    let asked = async |request| {
        let world = World::default();
        let seen = world.asked.clone();
        frames(world.routes(), request).await;
        seen.lock()[0].clone()
    };
    let query_hints = wire::QueryHints {
        step_millis: 15_000,
        func: Some(wire::Func { name: "rate".into() }),
        grouping: Some(wire::Grouping { by: true, labels: vec!["job".into()] }),
        range: Some(wire::Range { millis: 300_000 }),
        ..Default::default()
    };
    let request = wire::SeriesRequest {
        max_resolution_window: 3_600_000,
        query_hints: Some(query_hints),
        limit: 5,
        ..select("up")
    };
    let got = asked(request.clone()).await;
    assert_eq!((got.min_ms, got.max_ms, got.max_resolution_ms, got.limit), (0, 1000, 3_600_000, 5));
    let hints = &got.hints;
    assert_eq!(
        (hints.step_ms, hints.range_ms, hints.func.as_str(), hints.by),
        (15_000, 300_000, "rate", true)
    );
    assert_eq!(hints.grouping, ["job"]);
    // What is dropped or joined afterwards must not count.
    let without = wire::SeriesRequest { without_replica_labels: vec!["replica".into()], ..request.clone() };
    assert_eq!(asked(without).await.limit, 0);
    let shard_info = Some(wire::ShardInfo { total_shards: 2, ..Default::default() });
    assert_eq!(asked(wire::SeriesRequest { shard_info, ..request }).await.limit, 0);
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
    // Raw data has no aggregates, whatever is asked for.
    let raw =
        answered(wire::SeriesRequest { aggregates: vec![wire::Aggr::Sum.into()], ..select("up") }).await;
    assert!(raw.iter().all(|s| s.chunks[0].raw.is_some() && s.chunks[0].sum.is_none()));
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
async fn what_a_tenant_may_read_bounds_series_and_names() {
    let refused = async |bounds: QueryBounds, tenant: &str| {
        let routes = World { bounds, ..World::default() }.routes();
        let mut request = Request::new(select("up"));
        request.metadata_mut().insert("thanos-tenant", tenant.parse().unwrap());
        let series = StoreClient::new(routes.clone()).series(request).await.map(drop);
        let mut request = Request::new(wire::LabelNamesRequest { end: 1000, ..Default::default() });
        request.metadata_mut().insert("thanos-tenant", tenant.parse().unwrap());
        let names = StoreClient::new(routes).label_names(request).await.map(drop);
        (series.map_err(|s| s.code()), names.map_err(|s| s.code()))
    };
    let few_series = QueryBounds { max_series: 19, ..QueryBounds::default() };
    assert_eq!(refused(few_series, "a").await, (Err(Code::ResourceExhausted), Ok(())));
    assert_eq!(refused(few_series, "b").await, (Ok(()), Ok(())));
    assert_eq!(refused(QueryBounds { max_series: 20, ..few_series }, "a").await, (Ok(()), Ok(())));
    let few_bytes = QueryBounds { max_bytes: 10, ..QueryBounds::default() };
    let exhausted = Err(Code::ResourceExhausted);
    assert_eq!(refused(few_bytes, "a").await, (exhausted, exhausted));
}
