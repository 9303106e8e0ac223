//! Thanos' gRPC APIs over all stores: Info, Store, Exemplars, Metadata, Rules, Status and Targets, with health and
//! reflection.
//!
//! A request passes the module of its service; [`convert`] turns wire types into the model's and back, once, at the
//! edge. What is not served is not announced in Info, and is answered UNIMPLEMENTED. Source: reference of Thanos 0.43.

mod convert;
mod exemplars;
mod info;
mod metadata;
mod rules;
mod status;
mod store;
mod targets;

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use cairn_model::chunk::{Chunk, Encoding};
use cairn_model::rules::RulesSource;
use cairn_promql::Engine;
use cairn_proto::thanos::DESCRIPTORS;
use cairn_proto::thanos::exemplars_server::ExemplarsServer;
use cairn_proto::thanos::info::info_server::InfoServer;
use cairn_proto::thanos::metadata_server::MetadataServer;
use cairn_proto::thanos::rules_server::RulesServer;
use cairn_proto::thanos::status_server::StatusServer;
use cairn_proto::thanos::store_server::StoreServer;
use cairn_proto::thanos::targets_server::TargetsServer;
use futures::Stream;
use tonic::{Response, Status};

use crate::fanout::Fanout;

/// A chunk as Thanos' wire has it: XOR, histogram or float histogram.
#[derive(Debug, Clone)]
pub struct WireChunk {
    /// One of the three encodings that the wire knows.
    pub encoding: Encoding,
    /// Prometheus' payload.
    pub data: bytes::Bytes,
    /// Time of the first sample.
    pub min_ms: i64,
    /// Time of the last sample.
    pub max_ms: i64,
}

/// Encodes what is not encoded yet, or not in an encoding that the wire knows; one chunk may become several.
pub type ToWire = dyn Fn(&Chunk) -> Result<Vec<WireChunk>, String> + Send + Sync;

/// What the services answer from.
#[derive(Clone)]
pub struct Sources {
    /// All stores.
    pub fanout: Fanout,
    /// Encodes chunks for the wire.
    pub to_wire: Arc<ToWire>,
    /// Rules; without a source the Rules API is not served.
    pub rules: Option<Arc<dyn RulesSource>>,
    /// Knows what expressions may use, and what the tenants that are read may use up.
    pub engine: Engine,
}

/// The services as routes for an HTTP/2 listener.
pub fn router(sources: Sources) -> Router {
    let Sources { fanout, to_wire, rules, engine } = sources;
    let features = engine.options().features;
    let (reporter, health) = tonic_health::server::health_reporter();
    drop(reporter); // the overall status is serving for as long as there is a listener
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the build script made the descriptors");
    // Thanos allows messages of 2 GiB; requests are small, answers are streamed in batches.
    let info = info::InfoApi::new(fanout.clone(), rules.is_some());
    let mut routes = tonic::service::Routes::new(InfoServer::new(info))
        .add_service(StoreServer::new(store::StoreGrpc::new(fanout.clone(), to_wire, engine)))
        .add_service(ExemplarsServer::new(exemplars::ExemplarsApi::new(fanout.clone(), features)))
        .add_service(MetadataServer::new(metadata::MetadataApi::new(fanout.clone())))
        .add_service(StatusServer::new(status::StatusApi::new(fanout)))
        .add_service(TargetsServer::new(targets::TargetsApi));
    if let Some(source) = rules {
        routes = routes.add_service(RulesServer::new(rules::RulesApi::new(source)));
    }
    routes.add_service(health).add_service(reflection).prepare().into_axum_router()
}

/// A streamed answer.
type Frames<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// An answer whose frames are all there.
fn stream_of<T: Send + 'static>(frames: Vec<T>) -> Response<Frames<T>> {
    Response::new(Box::pin(futures::stream::iter(frames.into_iter().map(Ok))))
}
