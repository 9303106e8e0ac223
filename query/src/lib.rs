//! Prometheus' HTTP API and the fan-out that makes one `Queryable` of many stores.
//!
//! A query passes through, in order: [`api`] (parameters, limits, status), the engine of `cairn-promql`,
//! [`fanout`] (which stores can have it, all asked at once), [`merge`] (their sorted answers as one), and on
//! the way back [`json`] (Prometheus' envelope and number formats). [`grpc`] serves the same stores to Thanos;
//! [`cardinality`] counts what makes the head's series, [`reading`] bounds calls that are no queries. A request may narrow and join what it sees: [`shard`], [`dedup`].
//!
//! Invariant: an answer that lacks a store says so, as a warning or as an error; it is never silently short.

pub mod api;
pub mod cardinality;
pub mod dedup;
pub mod fanout;
pub mod grpc;
pub mod json;
pub mod merge;
mod reading;
pub mod shard;
mod view;

pub use api::{ApiOptions, QueryApi, ServerFacts, ServerNow, ServerState};
pub use fanout::{Fanout, PartialResponse};
