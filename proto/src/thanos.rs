//! Thanos' gRPC services, generated from `proto/protos/`.
//!
//! Field numbers and service names are Thanos 0.43's; message names do not matter on the wire. Generated types stay
//! at the edge: a server turns them into the model's at once.
#![allow(missing_docs, clippy::all)] // generated; the .proto files hold the comments

tonic::include_proto!("thanos");

/// `thanos.info.Info`.
pub mod info {
    tonic::include_proto!("thanos.info");
}

/// Descriptors of everything here, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
