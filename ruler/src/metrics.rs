//! What is counted. Names are Prometheus' (and Thanos' `thanos_rule_config_…`) where the meaning is the same; `rule_group`
//! is `file;name`.

use cairn_runtime::Metrics;
use cairn_runtime::metrics::LATENCY_BUCKETS_S;
use prometheus::{Gauge, GaugeVec, Histogram, IntCounterVec, IntGauge, IntGaugeVec};

/// Metrics of the ruler.
#[derive(Clone)]
pub(crate) struct RulerMetrics {
    pub evaluations: IntCounterVec,
    pub failures: IntCounterVec,
    pub duration_s: Histogram,
    pub group_duration_s: Histogram,
    pub iterations: IntCounterVec,
    pub missed: IntCounterVec,
    pub made_up: IntCounterVec,
    pub lost: IntCounterVec,
    pub samples_rejected: IntCounterVec,
    pub warnings: IntCounterVec,
    pub group_interval_s: GaugeVec,
    pub group_rules: IntGaugeVec,
    pub group_last_evaluation_s: GaugeVec,
    pub group_last_duration_s: GaugeVec,
    pub group_last_samples: IntGaugeVec,
    pub reload_successful: IntGauge,
    pub reload_success_s: Gauge,
}

impl RulerMetrics {
    pub fn new(m: &Metrics) -> RulerMetrics {
        let group = &["rule_group"];
        RulerMetrics {
            evaluations: m.counter_vec("prometheus_rule_evaluations_total", "Rule evaluations.", group),
            failures: m.counter_vec(
                "prometheus_rule_evaluation_failures_total",
                "Rule evaluations that failed.",
                group,
            ),
            duration_s: m.histogram(
                "prometheus_rule_evaluation_duration_histogram_seconds",
                "Time one rule's evaluation took.",
                LATENCY_BUCKETS_S,
            ),
            group_duration_s: m.histogram(
                "prometheus_rule_group_duration_histogram_seconds",
                "Time one evaluation of a group took.",
                LATENCY_BUCKETS_S,
            ),
            iterations: m.counter_vec(
                "prometheus_rule_group_iterations_total",
                "Slots of a group that came, evaluated or missed.",
                group,
            ),
            missed: m.counter_vec(
                "prometheus_rule_group_iterations_missed_total",
                "Slots of a group that passed without an evaluation.",
                group,
            ),
            made_up: m.counter_vec(
                "cairn_rule_evaluations_made_up_total",
                "Evaluations of recording rules made up at the timestamp they were missed at.",
                group,
            ),
            lost: m.counter_vec(
                "cairn_rule_evaluations_lost_total",
                "Evaluations of recording rules that were missed for good.",
                group,
            ),
            samples_rejected: m.counter_vec(
                "cairn_rule_samples_rejected_total",
                "Samples of rules that the write path refused.",
                group,
            ),
            warnings: m.counter_vec(
                "thanos_rule_evaluation_with_warnings_total",
                "Rule evaluations that had warnings, for instance of data that could not be read.",
                &["strategy"],
            ),
            group_interval_s: m.float_gauge_vec(
                "prometheus_rule_group_interval_seconds",
                "Interval of a group.",
                group,
            ),
            group_rules: m.gauge_vec("prometheus_rule_group_rules", "Rules of a group.", group),
            group_last_evaluation_s: m.float_gauge_vec(
                "prometheus_rule_group_last_evaluation_timestamp_seconds",
                "When a group was last evaluated.",
                group,
            ),
            group_last_duration_s: m.float_gauge_vec(
                "prometheus_rule_group_last_duration_seconds",
                "Time the last evaluation of a group took.",
                group,
            ),
            group_last_samples: m.gauge_vec(
                "prometheus_rule_group_last_evaluation_samples",
                "Samples written by the last evaluation of a group.",
                group,
            ),
            reload_successful: m.gauge(
                "thanos_rule_config_last_reload_successful",
                "Whether the last attempt to load rule files succeeded.",
            ),
            reload_success_s: m.float_gauge(
                "thanos_rule_config_last_reload_success_timestamp_seconds",
                "When rule files were last loaded.",
            ),
        }
    }

    /// Forgets a group that is gone, so that it does not look stuck.
    pub fn forget(&self, group: &str) {
        let label = &[group];
        for counters in [
            &self.evaluations,
            &self.failures,
            &self.iterations,
            &self.missed,
            &self.made_up,
            &self.lost,
            &self.samples_rejected,
        ] {
            let _ = counters.remove_label_values(label);
        }
        for gauges in [&self.group_interval_s, &self.group_last_evaluation_s, &self.group_last_duration_s] {
            let _ = gauges.remove_label_values(label);
        }
        for gauges in [&self.group_rules, &self.group_last_samples] {
            let _ = gauges.remove_label_values(label);
        }
    }
}
