//! Whole requests through the routes that serve them, over stores that hold nothing: no input is answered with a
//! failure of ours, and none makes us panic.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use cairn_model::WriteBatch;
use cairn_model::batch::Appended;
use cairn_model::storage::{AppendError, Appendable};
use cairn_promql::engine::{ColumnsOnly, Engine, EngineOptions};
use cairn_proto::encode::snappy_block;
use cairn_query::api::{ApiOptions, QueryApi};
use cairn_query::grpc::Sources;
use cairn_query::{Fanout, PartialResponse};
use cairn_receiver::{Limits, LimitsBook, Receiver, ReceiverConfig};
use cairn_runtime::{MemDisk, Runtime, TcpNet};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// When all of this happens.
const NOW_MS: i64 = 1_700_000_000_000;

/// Takes everything and keeps nothing, and gives every series the number of its labels' hash, so that the next
/// request goes the way of known series.
struct Nowhere;

#[async_trait]
impl Appendable for Nowhere {
    async fn append(&self, batch: WriteBatch) -> Result<Appended, AppendError> {
        let refs = batch.series.iter().map(|s| s.hash | 1).collect();
        let (floats, histograms) = (batch.floats.t_ms.len() as u64, batch.histograms.len() as u64);
        Ok(Appended { refs, floats, histograms, spare: Some(Box::new(batch)), ..Appended::default() })
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    tokio.expect("a runtime without I/O").block_on(work)
}

fn machine() -> Runtime {
    Runtime::simulated(1, NOW_MS, Arc::new(TcpNet), Arc::new(MemDisk::new()))
}

fn nothing() -> Fanout {
    Fanout::new(Vec::new(), PartialResponse::Warn, 0)
}

async fn ask(routes: &Router, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let answer = routes.clone().oneshot(request).await.expect("routes are infallible");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a body in memory");
    (status, body.to_bytes().to_vec())
}

/// A decompressed write request behind a byte that chooses the version; sent twice, because the second one meets
/// series that are known.
pub fn write_request(data: &[u8]) {
    let Some((version, message)) = data.split_first() else { return };
    let content_type = match version % 2 {
        0 => "application/x-protobuf",
        _ => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    };
    let body = snappy_block(message);
    run(async {
        let limits = Arc::new(LimitsBook::new(Limits::default()));
        let receiver = Receiver::new(ReceiverConfig::default(), &machine(), Arc::new(Nowhere), limits)
            .expect("the default settings agree");
        let routes = receiver.routes();
        let mut answers = Vec::new();
        for _ in 0..2 {
            let request = Request::post("/api/v1/write")
                .header("content-type", content_type)
                .body(Body::from(body.clone()))
                .expect("a well-formed head");
            let (status, text) = ask(&routes, request).await;
            assert!(
                [StatusCode::NO_CONTENT, StatusCode::BAD_REQUEST].contains(&status),
                "{status}: {}",
                String::from_utf8_lossy(&text)
            );
            answers.push((status, text));
        }
        assert_eq!(answers[0], answers[1], "a repeated request is answered alike");
    });
}

/// Path and query of a GET in the first line; a form behind it makes it a POST.
pub fn api_request(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (target, form) = text.split_once('\n').unwrap_or((&text, ""));
    let request = match form {
        "" => Request::get(target).body(Body::empty()),
        form => Request::post(target)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned())),
    };
    let Ok(request) = request else { return };
    run(async {
        let runtime = machine();
        let api = ApiOptions {
            version: "fuzz".into(),
            max_concurrent: 1,
            timeout_ms: 10_000,
            replica_labels: vec!["replica".into()],
            auto_downsampling: true,
        };
        let routes = QueryApi::new(engine(&runtime), nothing(), runtime, api).router();
        let (status, text) = ask(&routes, request).await;
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{}", String::from_utf8_lossy(&text));
    });
}

/// An engine whose queries are small.
fn engine(runtime: &Runtime) -> Engine {
    Engine::new(EngineOptions {
        max_samples: 20_000,
        max_steps: 2_000,
        ..EngineOptions::new(Arc::new(ColumnsOnly), runtime.cpu.clone(), runtime.clock.clone())
    })
}

/// A message to one of Thanos' services behind a byte that chooses the call.
pub fn grpc_request(data: &[u8]) {
    let Some((call, message)) = data.split_first() else { return };
    let path = [
        "/thanos.Store/Series",
        "/thanos.Store/LabelNames",
        "/thanos.Store/LabelValues",
        "/thanos.info.Info/Info",
        "/thanos.Exemplars/Exemplars",
        "/thanos.Metadata/Metadata",
        "/thanos.Status/TSDBStatistics",
        "/thanos.Targets/Targets",
    ][usize::from(*call) % 8];
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    let request = Request::post(path)
        .version(http::Version::HTTP_2)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from(frame))
        .expect("a well-formed head");
    run(async {
        let routes = cairn_query::grpc::router(Sources {
            fanout: nothing(),
            to_wire: Arc::new(|_| Err("there are no chunks".into())),
            rules: None,
            engine: engine(&machine()),
        });
        let (status, _) = ask(&routes, request).await;
        assert_eq!(status, StatusCode::OK, "gRPC's failures are in its trailers");
    });
}
