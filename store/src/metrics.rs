//! What the store counts, under Thanos' names where the meaning is the same.

use cairn_runtime::Metrics;
use prometheus::{Gauge, Histogram, IntCounter, IntCounterVec, IntGauge};

/// Blocks of one request.
const BLOCK_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1000.0];

/// The store's metrics.
#[derive(Clone)]
#[allow(missing_docs)] // the help texts say it
pub struct StoreMetrics {
    pub loaded: IntGauge,
    pub syncs: IntCounter,
    pub sync_failures: IntCounter,
    pub last_sync: Gauge,
    pub quarantined: IntGauge,
    pub quarantines: IntCounter,
    pub requests: IntCounterVec,
    pub blocks_queried: Histogram,
    pub series: IntCounter,
    pub chunk_bytes: IntCounter,
}

impl StoreMetrics {
    /// Registers them.
    pub fn new(m: &Metrics) -> Self {
        StoreMetrics {
            loaded: m.gauge("thanos_bucket_store_blocks_loaded", "Blocks that are answered from."),
            syncs: m.counter("cairn_store_syncs_total", "Looks at the bucket."),
            sync_failures: m.counter("cairn_store_sync_failures_total", "Looks at the bucket that failed."),
            last_sync: m.float_gauge(
                "thanos_bucket_store_blocks_last_loaded_timestamp_seconds",
                "Unix time of the last look at the bucket that succeeded.",
            ),
            quarantined: m.gauge("cairn_store_blocks_quarantined", "Damaged blocks that are left out."),
            quarantines: m.counter("cairn_store_quarantines_total", "Blocks found damaged."),
            requests: m.counter_vec("cairn_store_requests_total", "Requests, by call.", &["call"]),
            blocks_queried: m.histogram(
                "thanos_bucket_store_series_blocks_queried",
                "Blocks asked for one request for series.",
                BLOCK_BUCKETS,
            ),
            series: m.counter("cairn_store_series_total", "Series answered."),
            chunk_bytes: m.counter("cairn_store_chunk_bytes_total", "Bytes of chunks read from the bucket."),
        }
    }
}
