//! The rows of `bench ingest`: limits, aims and the peers' figures they were set against.

use crate::bench::row::{Anchor, Measure};

const fn row(name: &'static str, unit: &'static str, must: f64, aim: f64, anchor: Option<Anchor>) -> Measure {
    Measure { name, unit, must: Some(must), aim: Some(aim), anchor }
}

const VM: &str = "victoria-metrics";
const PROMETHEUS: &str = "prometheus";

const fn anchor(peer: &'static str, table: f64) -> Option<Anchor> {
    Some(Anchor { peer, table, row: None })
}

/// VictoriaMetrics' figure of the table for the load without new series. Rows whose load has new series, or another
/// order, are judged by it too: there VictoriaMetrics spends more (2,750 ns at 1 % churn), which would flatter cairn.
const VM_STILL: Option<Anchor> = Some(Anchor { peer: VM, table: 1_530.0, row: Some("rw1-no-churn") });

/// 200,000 series in steady state, remote write 1.0.
pub const RW1_STEADY: Measure = row("rw1-steady", "ns CPU/sample", 500.0, 250.0, VM_STILL);
/// The same without any new series, as the peers' figures of the table were taken.
pub const RW1_STILL: Measure = row("rw1-no-churn", "ns CPU/sample", 500.0, 250.0, VM_STILL);
/// The sender sends its series in another order every round.
pub const RW1_SHUFFLED: Measure = row("rw1-shuffled", "ns CPU/sample", 800.0, 450.0, VM_STILL);
/// The sender comes back with new connections every round.
pub const RW1_RESTARTED: Measure = row("rw1-restarted", "ns CPU/sample", 800.0, 450.0, VM_STILL);
/// Remote write 2.0.
pub const RW2_STEADY: Measure = row("rw2-steady", "ns CPU/sample", 400.0, 180.0, anchor(PROMETHEUS, 3_600.0));
/// A million series.
pub const RW1_MILLION: Measure = row("rw1-1m-series", "ns CPU/sample", 700.0, 350.0, anchor(VM, 1_840.0));
/// First contact with a series.
pub const NEW_SERIES: Measure = row("new-series", "µs CPU/series", 5.0, 3.0, anchor(PROMETHEUS, 11.2));
/// Slow requests at half of saturation; the limits follow from the disk, see `latency`.
pub const P99_HALF: Measure =
    Measure { name: "p99-half-load", unit: "ms", must: None, aim: None, anchor: None };
/// Memory after seven scrapes of a million series.
pub const RSS_MILLION: Measure = row("rss-1m-series", "RssAnon B/series", 800.0, 600.0, anchor(VM, 1_110.0));
/// Memory after three hours of 200,000 series, one window sealed in between.
pub const RSS_HOURS: Measure = row("rss-3h", "RssAnon B/series", 800.0, 600.0, None);
/// Slow requests while a window is sealed at half of saturation; the limits follow from those just before, see `seal`.
pub const SEAL_P99: Measure = Measure { name: "seal-p99", unit: "ms", must: None, aim: None, anchor: None };
/// Growth of memory meanwhile.
pub const SEAL_GROWTH: Measure =
    Measure { name: "seal-growth", unit: "% RssAnon", must: Some(10.0), aim: None, anchor: None };
/// From SIGKILL under load to ready again, slowest of all.
pub const RESTART: Measure = row("restart", "s", 2.0, 0.5, anchor(PROMETHEUS, 8.9));
/// Log bytes a sample.
pub const WAL_BYTES: Measure = row("wal-bytes", "B/sample", 7.0, 5.0, anchor(PROMETHEUS, 9.6));

/// Bytes of a block a sample: within 2 % of Prometheus' on the same load, whose table says 2.88 + 0.26.
pub const BLOCK_BYTES: Measure =
    row("block-bytes", "B/sample", TABLE_BLOCK * 1.02, TABLE_BLOCK, anchor(PROMETHEUS, TABLE_BLOCK));
/// Chunks and index.
const TABLE_BLOCK: f64 = 2.88 + 0.26;

/// Memory that decompression bombs and lying lengths cost at their peak.
pub const BOMBS: Measure = Measure {
    name: "bombs",
    unit: "MB RssAnon growth",
    must: Some(32.0),
    aim: None,
    anchor: anchor(PROMETHEUS, 53.0),
};

/// All rows in the order they are printed.
pub const ALL: &[Measure] = &[
    RW1_STEADY,
    RW1_STILL,
    RW1_SHUFFLED,
    RW1_RESTARTED,
    RW2_STEADY,
    RW1_MILLION,
    NEW_SERIES,
    P99_HALF,
    RSS_MILLION,
    SEAL_P99,
    SEAL_GROWTH,
    RSS_HOURS,
    RESTART,
    WAL_BYTES,
    BLOCK_BYTES,
    BOMBS,
];
