//! The HTTP API beside Prometheus': the same data in both, the same requests to both, equal answers.
//!
//! [`requests`] asks tables of requests, Grafana's among them, and holds each answer against the OpenAPI document
//! ([`schema`]); [`templates`] evaluates the conformance suite's expressions; [`thanos`] has Thanos Query read from
//! cairn over gRPC; [`downsampled`] reads a bucket of Thanos'; [`promtool`] compares the tools. [`pair`] starts both servers,
//! [`native`] adds native histograms, [`ask`] speaks HTTP, [`compare`] tells what differs.
#![allow(clippy::disallowed_methods)] // drives real processes, files and clocks; no part of the product

mod ask;
mod compare;
mod downsampled;
#[path = "../../../xtask/src/peers/locate.rs"]
mod locate;
mod native;
mod pair;
#[path = "../e2e/process.rs"]
#[allow(dead_code)] // the end-to-end tests use all of it
mod process;
mod promtool;
mod requests;
mod schema;
mod templates;
mod thanos;
