//! Thanos' gRPC APIs over all stores: Info and Store, with health and reflection.
//!
//! A request passes [`store`] or [`info`]; [`convert`] turns wire types into the model's and back, once, at the edge.
//! What is not served is not announced in Info, and is answered UNIMPLEMENTED. Source: reference of Thanos 0.43.

mod convert;
mod info;
mod store;

use std::sync::Arc;

use axum::Router;
use cairn_model::chunk::{Chunk, Encoding};
use cairn_proto::thanos::DESCRIPTORS;
use cairn_proto::thanos::info::info_server::InfoServer;
use cairn_proto::thanos::store_server::StoreServer;

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

/// The services over `fanout`, as routes for an HTTP/2 listener.
pub fn router(fanout: Fanout, to_wire: Arc<ToWire>) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    drop(reporter); // the overall status is serving for as long as there is a listener
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the build script made the descriptors");
    // Thanos allows messages of 2 GiB; requests are small, answers are streamed in batches.
    tonic::service::Routes::new(InfoServer::new(info::InfoApi::new(fanout.clone())))
        .add_service(StoreServer::new(store::StoreGrpc::new(fanout, to_wire)))
        .add_service(health)
        .add_service(reflection)
        .prepare()
        .into_axum_router()
}
