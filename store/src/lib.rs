//! Store gateway: answers StoreApi from the blocks of a bucket.
//!
//! In the order of a request: [`blocks`] knows what is there and which of it concerns the request, by way of
//! [`resolution`]; [`index_cache`] has the indexes, [`select`] finds series in them, [`answer`] streams them with
//! the chunks that [`fetch_chunks`] reads; [`store`] joins all and keeps the list of blocks fresh. [`failure`] tells
//! damage from what may pass.
//!
//! Invariant: an answer holds every sample of every sound block in its range, or ends with an error that says what
//! is missing.

mod answer;
pub mod blocks;
pub mod failure;
pub mod fetch_chunks;
pub mod index_cache;
pub mod metrics;
pub mod resolution;
pub mod select;
pub mod store;

pub use store::{BucketStore, HeldElsewhere, StoreConfig, collect};
