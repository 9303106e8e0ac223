//! Metric metadata: type, unit and help of a metric family.

/// The kind of a metric family; the numbers are those of remote write and of Prometheus' WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the variants are the field's own words
pub enum MetricType {
    #[default]
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
    GaugeHistogram = 4,
    Summary = 5,
    Info = 6,
    StateSet = 7,
}

impl MetricType {
    /// The type of a wire number; unknown numbers become [`MetricType::Unknown`].
    pub fn from_wire(n: u64) -> Self {
        use MetricType::*;
        [Unknown, Counter, Gauge, Histogram, GaugeHistogram, Summary, Info, StateSet]
            .get(usize::try_from(n).unwrap_or(usize::MAX))
            .copied()
            .unwrap_or_default()
    }

    /// The name that Prometheus' API gives.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
        }
    }
}

/// Metadata of one metric family.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Metadata {
    /// The kind of the family.
    pub metric_type: MetricType,
    /// Unit, or empty.
    pub unit: String,
    /// Help text, or empty.
    pub help: String,
}
