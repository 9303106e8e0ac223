//! The receiver's own metrics.

use cairn_proto::Version;
use cairn_runtime::Metrics;
use prometheus::{IntCounter, IntCounterVec};

/// Tenants that have label values of their own; further ones are counted together.
const MAX_TENANTS: usize = 1000;
/// Stands for the tenants above [`MAX_TENANTS`]. No tenant can have this name.
const OTHER_TENANTS: &str = "_other";

/// Counters of a receiver.
pub struct ReceiverMetrics {
    requests: IntCounterVec,
    samples: IntCounterVec,
    rejected: IntCounterVec,
    series: [IntCounter; 3],
    unknown: IntCounter,
    panics: IntCounter,
    left_out: IntCounter,
    overridden: IntCounter,
    tenants: parking_lot::Mutex<hashbrown::HashSet<String>>,
}

/// How many series came in by which way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recalled {
    /// By prediction.
    pub predicted: u64,
    /// From the table.
    pub found: u64,
    /// With their labels.
    pub read: u64,
}

impl ReceiverMetrics {
    /// Registers the metrics; once a process.
    pub fn new(m: &Metrics) -> Self {
        let series = m.counter_vec(
            "cairn_receive_series_total",
            "Series of write requests, by how they were identified.",
            &["by"],
        );
        ReceiverMetrics {
            requests: m.counter_vec(
                "cairn_receive_requests_total",
                "Write requests by version of remote write and status.",
                &["version", "code"],
            ),
            samples: m.counter_vec(
                "cairn_receive_samples_total",
                "Samples and exemplars that were made durable, repeats included.",
                &["tenant", "type"],
            ),
            rejected: m.counter_vec(
                "cairn_receive_rejected_samples_total",
                "Samples that were refused, by reason.",
                &["tenant", "reason"],
            ),
            series: ["predicted", "table", "labels"].map(|by| series.with_label_values(&[by])),
            unknown: m.counter(
                "cairn_receive_series_resent_total",
                "Series sent to the store again with labels because it had forgotten their reference.",
            ),
            panics: m.counter("cairn_receive_panics_total", "Write requests whose handling panicked."),
            left_out: m.counter(
                "cairn_receive_left_out_total",
                "Exemplars and metadata left out because a request had too many.",
            ),
            overridden: m.counter(
                "cairn_receive_overridden_labels_total",
                "Incoming labels that gave way to an external label of the same name.",
            ),
            tenants: parking_lot::Mutex::default(),
        }
    }

    /// A request was answered.
    pub fn answered(&self, version: Option<Version>, code: http::StatusCode) {
        let version = version.map_or("unknown", Version::as_str);
        self.requests.with_label_values(&[version, code.as_str()]).inc();
    }

    /// Samples of a tenant were stored.
    pub fn stored(&self, tenant: &str, floats: u64, histograms: u64, exemplars: u64) {
        let tenant = self.label(tenant);
        for (kind, n) in [("float", floats), ("histogram", histograms), ("exemplar", exemplars)] {
            if n > 0 {
                self.samples.with_label_values(&[tenant, kind]).inc_by(n);
            }
        }
    }

    /// Samples of a tenant were refused.
    pub fn rejected(&self, tenant: &str, counts: &[(&'static str, u64)]) {
        let tenant = self.label(tenant);
        for (reason, n) in counts {
            self.rejected.with_label_values(&[tenant, reason]).inc_by(*n);
        }
    }

    /// Series came in.
    pub fn recalled(&self, recalled: Recalled) {
        let ways = [recalled.predicted, recalled.found, recalled.read];
        self.series.iter().zip(ways).for_each(|(counter, n)| counter.inc_by(n));
    }

    /// Series were sent to the store again.
    pub fn resent(&self, series: u64) {
        self.unknown.inc_by(series);
    }

    /// A request panicked.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Exemplars or metadata were left out, labels overridden.
    pub fn dropped(&self, left_out: u64, overridden_labels: u64) {
        self.left_out.inc_by(left_out);
        self.overridden.inc_by(overridden_labels);
    }

    /// The label value of a tenant: its name, while there are not too many.
    fn label<'t>(&self, tenant: &'t str) -> &'t str {
        let mut known = self.tenants.lock();
        if known.contains(tenant) {
            return tenant;
        }
        if known.len() >= MAX_TENANTS {
            return OTHER_TENANTS;
        }
        known.insert(tenant.to_owned());
        tenant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_as_label_values_are_bounded() {
        let registry = Metrics::new();
        let metrics = ReceiverMetrics::new(&registry);
        for i in 0..MAX_TENANTS + 5 {
            metrics.stored(&format!("t{i}"), 1, 0, 0);
        }
        let text = registry.render();
        assert_eq!(
            text.lines().filter(|l| l.starts_with("cairn_receive_samples_total{")).count(),
            MAX_TENANTS + 1
        );
        assert!(text.contains(r#"cairn_receive_samples_total{tenant="_other",type="float"} 5"#), "{text}");
    }
}
