//! What is counted. Names are Prometheus' where the meaning is Prometheus'; `alertmanager` is the endpoint's URL.

use cairn_runtime::Metrics;
use cairn_runtime::metrics::LATENCY_BUCKETS_S;
use prometheus::{Histogram, IntCounter, IntGauge};

/// Metrics of one Alertmanager.
#[derive(Clone)]
pub(crate) struct SenderMetrics {
    pub sent: IntCounter,
    pub errors: IntCounter,
    pub dropped: IntCounter,
    pub refused: IntCounter,
    pub queue_length: IntGauge,
    pub latency_s: Histogram,
    pub unsaved: IntCounter,
}

impl SenderMetrics {
    /// Registers the families once and gives one set of children per Alertmanager.
    pub fn for_all(metrics: &Metrics, endpoints: &[String]) -> Vec<SenderMetrics> {
        let labels = &["alertmanager"];
        let sent = metrics.counter_vec(
            "prometheus_notifications_sent_total",
            "Alerts an Alertmanager accepted.",
            labels,
        );
        let errors = metrics.counter_vec(
            "prometheus_notifications_errors_total",
            "Posts of alerts that failed, each try.",
            labels,
        );
        let dropped = metrics.counter_vec(
            "prometheus_notifications_dropped_total",
            "Alerts given up undelivered: refused by the Alertmanager, or over a bound of the outbox.",
            labels,
        );
        let refused = metrics.counter_vec(
            "cairn_notifications_refused_total",
            "Alerts that an Alertmanager refused by a 4xx.",
            labels,
        );
        let length = metrics.gauge_vec(
            "prometheus_notifications_queue_length",
            "Alerts waiting in the outbox.",
            labels,
        );
        let capacity = metrics.gauge("prometheus_notifications_queue_capacity", "Alerts an outbox can hold.");
        let latency = metrics.histogram_vec(
            "prometheus_notifications_latency_histogram_seconds",
            "Time a post of alerts took.",
            LATENCY_BUCKETS_S,
            labels,
        );
        let unsaved = metrics.counter_vec(
            "cairn_notifications_outbox_save_errors_total",
            "Times an outbox could not be written to disk.",
            labels,
        );
        let discovered = metrics.gauge(
            "prometheus_notifications_alertmanagers_discovered",
            "Alertmanagers that alerts are sent to.",
        );
        capacity.set(crate::outbox::MAX_ROWS as i64);
        discovered.set(endpoints.len() as i64);
        endpoints
            .iter()
            .map(|endpoint| SenderMetrics {
                sent: sent.with_label_values(&[endpoint]),
                errors: errors.with_label_values(&[endpoint]),
                dropped: dropped.with_label_values(&[endpoint]),
                refused: refused.with_label_values(&[endpoint]),
                queue_length: length.with_label_values(&[endpoint]),
                latency_s: latency.with_label_values(&[endpoint]),
                unsaved: unsaved.with_label_values(&[endpoint]),
            })
            .collect()
    }
}
