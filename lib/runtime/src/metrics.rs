//! The registry behind `/metrics`.
//!
//! Constructors register at once and panic on a duplicate name: a wrong metric is a bug of the program and shows
//! at start-up. [`Metrics::gather`] gives structures, so the all-in-one can write its own metrics into itself.

use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// A registry; clones share it.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
}

/// Seconds, from half a millisecond to a minute.
pub const LATENCY_BUCKETS_S: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Metrics { registry: Registry::new() }
    }

    /// Registers the `process_*` metrics: CPU time, memory, file descriptors, threads, start time; none where the system
    /// is not Linux.
    pub fn with_process(self) -> Self {
        #[cfg(target_os = "linux")]
        self.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        self
    }

    /// Registers a collector made elsewhere.
    pub fn register(&self, collector: Box<dyn prometheus::core::Collector>) {
        self.registry.register(collector).expect("metric names are unique and valid");
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.add(IntCounter::new(name, help))
    }

    /// A counter by labels.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        self.add(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// A gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.add(IntGauge::new(name, help))
    }

    /// A gauge of whole numbers by labels.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// A gauge of floats, for instance seconds.
    pub fn float_gauge(&self, name: &str, help: &str) -> Gauge {
        self.add(Gauge::new(name, help))
    }

    /// A gauge of floats by labels.
    pub fn float_gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
        self.add(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// A histogram with buckets in the metric's unit.
    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
    }

    /// A histogram by labels.
    pub fn histogram_vec(&self, name: &str, help: &str, buckets: &[f64], labels: &[&str]) -> HistogramVec {
        self.add(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels))
    }

    /// All metrics as structures.
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.gather()).expect("gathered metrics are valid")
    }

    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<C>) -> C {
        let collector = made.expect("metric names and labels are valid");
        self.register(Box::new(collector.clone()));
        collector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_what_was_counted() {
        let m = Metrics::new();
        m.counter("cairn_x_total", "Things.").inc_by(3);
        assert!(m.render().contains("cairn_x_total 3"), "{}", m.render());
    }
}
