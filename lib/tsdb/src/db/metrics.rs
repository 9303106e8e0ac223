//! What the engine says of itself. Where the meaning is Prometheus', so is the name.

use cairn_runtime::Metrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// The engine's metrics.
pub struct DbMetrics {
    /// fdatasyncs of the log.
    pub wal_fsyncs: IntCounter,
    /// Failed ones.
    pub wal_failed_fsyncs: IntCounter,
    /// Failed writes.
    pub wal_failed_writes: IntCounter,
    /// Bytes of frames written.
    pub wal_bytes: IntCounter,
    /// Frames written.
    pub wal_frames: IntCounter,
    /// Damaged stretches found at replay.
    pub wal_corruptions: IntCounter,
    /// Series in the head.
    pub head_series: IntGauge,
    /// Series created.
    pub head_series_created: IntCounter,
    /// Series that left.
    pub head_series_removed: IntCounter,
    /// Own memory of the head.
    pub head_bytes: IntGaugeVec,
    /// What was not taken for want of memory.
    pub memory_refused: IntCounterVec,
    /// Samples appended, by type.
    pub samples: IntCounterVec,
    /// Samples that were not newer than their series.
    pub out_of_order: IntCounter,
    /// Exemplars appended.
    pub exemplars: IntCounter,
    /// Writes refused because too many wait for the replay.
    pub early_refused: IntCounter,
    /// Head snapshots taken.
    pub snapshots_taken: IntCounter,
    /// Head snapshots that could not be taken.
    pub snapshots_failed: IntCounter,
    /// Size of the newest one.
    pub snapshot_bytes: IntGauge,
    /// Series that this process' start loaded from a snapshot.
    pub snapshot_series: IntGauge,
    /// Blocks cut from the head.
    pub blocks_cut: IntCounter,
    /// Generations released.
    pub released: IntCounter,
}

impl DbMetrics {
    /// Registers all metrics.
    pub fn new(m: &Metrics) -> Self {
        DbMetrics {
            wal_fsyncs: m.counter("cairn_wal_fsyncs_total", "Successful fdatasyncs of the write-ahead log."),
            wal_failed_fsyncs: m
                .counter("cairn_wal_failed_fsyncs_total", "Failed fdatasyncs of the write-ahead log."),
            wal_failed_writes: m.counter(
                "prometheus_tsdb_wal_writes_failed_total",
                "Writes to the write-ahead log that failed.",
            ),
            wal_bytes: m.counter("cairn_wal_written_bytes_total", "Bytes of frames written to the log."),
            wal_frames: m.counter("cairn_wal_frames_total", "Frames written to the log."),
            wal_corruptions: m.counter(
                "prometheus_tsdb_wal_corruptions_total",
                "Damaged stretches of the write-ahead log, found at replay and skipped.",
            ),
            head_series: m.gauge("prometheus_tsdb_head_series", "Series in the head."),
            head_series_created: m
                .counter("prometheus_tsdb_head_series_created_total", "Series created in the head."),
            head_series_removed: m
                .counter("prometheus_tsdb_head_series_removed_total", "Series removed from the head."),
            head_bytes: m.gauge_vec(
                "cairn_head_bytes",
                "Memory of the head, without mapped files.",
                &["part"],
            ),
            memory_refused: m.counter_vec(
                "cairn_memory_refused_total",
                "Requests, and new series of others, that were not taken for want of memory. Senders repeat them.",
                &["what"],
            ),
            samples: m.counter_vec(
                "prometheus_tsdb_head_samples_appended_total",
                "Samples appended, repeats included.",
                &["type"],
            ),
            out_of_order: m.counter(
                "prometheus_tsdb_head_out_of_order_samples_appended_total",
                "Samples that were not newer than all of their series, repeats included.",
            ),
            exemplars: m.counter("prometheus_tsdb_exemplar_exemplars_appended_total", "Exemplars appended."),
            early_refused: m.counter(
                "cairn_replay_refused_writes_total",
                "Writes refused because too many waited for the replay of the log.",
            ),
            snapshots_taken: m.counter("cairn_head_snapshots_total", "Head snapshots taken."),
            snapshots_failed: m
                .counter("cairn_head_snapshots_failed_total", "Head snapshots that could not be taken."),
            snapshot_bytes: m.gauge("cairn_head_snapshot_bytes", "Size of the newest head snapshot."),
            snapshot_series: m.gauge(
                "cairn_head_snapshot_restored_series",
                "Series that the start loaded from a head snapshot; 0 when it replayed the whole log.",
            ),
            blocks_cut: m.counter("cairn_blocks_cut_total", "Blocks cut from the head."),
            released: m
                .counter("cairn_generations_released_total", "Window generations released by the head."),
        }
    }
}
