//! What the compactor counts, under Thanos' names where the meaning is the same.

use cairn_runtime::Metrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// The compactor's metrics.
#[derive(Clone)]
#[allow(missing_docs)] // the help texts say it
pub struct CompactMetrics {
    pub iterations: IntCounter,
    pub iteration_failures: IntCounter,
    pub halted: IntGauge,
    pub group_compactions: IntCounter,
    pub group_failures: IntCounter,
    pub vertical: IntCounter,
    pub downsamples: IntCounterVec,
    pub downsample_failures: IntCounterVec,
    pub marked: IntCounterVec,
    pub quarantined: IntCounter,
    pub left_alone: IntGauge,
    pub todo_compactions: IntGauge,
    pub todo_downsamples: IntGauge,
    pub chunks: IntCounterVec,
    pub samples: IntCounter,
}

impl CompactMetrics {
    /// Registers them.
    pub fn new(m: &Metrics) -> Self {
        CompactMetrics {
            iterations: m
                .counter("thanos_compact_iterations_total", "Passes over the bucket that came to their end."),
            iteration_failures: m.counter(
                "cairn_compact_iteration_failures_total",
                "Passes in which something failed; other blocks went on.",
            ),
            halted: m
                .gauge("thanos_compact_halted", "Always 0: one bad block is set aside and the others go on."),
            group_compactions: m
                .counter("thanos_compact_group_compactions_total", "Compactions that were committed."),
            group_failures: m
                .counter("thanos_compact_group_compactions_failures_total", "Compactions that failed."),
            vertical: m.counter(
                "thanos_compact_group_vertical_compactions_total",
                "Compactions in which chunks overlapped.",
            ),
            downsamples: m.counter_vec(
                "thanos_compact_downsample_total",
                "Downsamplings that were committed.",
                &["resolution"],
            ),
            downsample_failures: m.counter_vec(
                "thanos_compact_downsample_failures_total",
                "Downsamplings that failed.",
                &["resolution"],
            ),
            marked: m.counter_vec(
                "thanos_compact_blocks_marked_total",
                "Blocks marked, by mark and reason.",
                &["marker", "reason"],
            ),
            quarantined: m.counter(
                "cairn_compact_blocks_quarantined_total",
                "Damaged blocks that were marked against compaction.",
            ),
            left_alone: m.gauge(
                "cairn_compact_groups_left_alone",
                "Groups in which another compactor software is at work.",
            ),
            todo_compactions: m.gauge("thanos_compact_todo_compactions", "Groups with a compaction due."),
            todo_downsamples: m
                .gauge("thanos_compact_todo_downsample_blocks", "Blocks with a downsampling due."),
            chunks: m.counter_vec(
                "cairn_compact_chunks_total",
                "Input chunks of compactions, by what became of them.",
                &["outcome"],
            ),
            samples: m
                .counter("cairn_compact_samples_total", "Samples of the blocks that compactions wrote."),
        }
    }
}
