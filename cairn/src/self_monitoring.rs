//! cairn's own metrics, written into itself: a fresh start has data to look at, without a Prometheus beside it.
//!
//! Every interval the registry is read and written through the same path as everybody's samples, under the
//! default tenant, as a scrape of job `cairn` would have been, `up` included.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::labels::{LabelsBuilder, METRIC_NAME};
use cairn_model::storage::Appendable;
use cairn_model::tenant::TenantId;
use cairn_model::{Labels, WriteBatch};
use cairn_runtime::Runtime;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use tracing::warn;

/// Starts the loop; the first samples are written at once.
pub fn start(
    runtime: &Runtime,
    sink: Arc<dyn Appendable>,
    tenant: TenantId,
    instance: String,
    every: Duration,
) {
    let (clock, metrics, tasks) = (runtime.clock.clone(), runtime.metrics.clone(), runtime.tasks.clone());
    let target = Labels::from_pairs([("job", "cairn"), ("instance", instance.as_str())]).expect("two names");
    tasks.spawn_loop("self-monitoring", clock.clone(), move |shutdown| {
        let (clock, metrics, sink) = (clock.clone(), metrics.clone(), sink.clone());
        let (tenant, target) = (tenant.clone(), target.clone());
        async move {
            loop {
                let batch = to_batch(&metrics.gather(), &target, tenant.clone(), clock.now_ms());
                if let Err(e) = sink.append(batch).await {
                    warn!("own metrics are not stored this time: {e}");
                }
                tokio::select! {
                    () = shutdown.begun() => return,
                    () = clock.sleep(every) => {}
                }
            }
        }
    });
}

/// The families as one scrape at `t_ms`. Histograms and summaries become their classic series.
fn to_batch(families: &[MetricFamily], target: &Labels, tenant: TenantId, t_ms: i64) -> WriteBatch {
    let mut scrape = Scrape { batch: WriteBatch::new(tenant), target, t_ms };
    scrape.push("up", &[], None, 1.0);
    for family in families {
        for metric in family.get_metric() {
            scrape.push_metric(family, metric);
        }
    }
    scrape.batch
}

struct Scrape<'a> {
    batch: WriteBatch,
    target: &'a Labels,
    t_ms: i64,
}

impl Scrape<'_> {
    fn push_metric(&mut self, family: &MetricFamily, metric: &Metric) {
        let (name, labels) = (family.name(), metric.get_label());
        match family.get_field_type() {
            MetricType::COUNTER => self.push(name, labels, None, metric.get_counter().get_value()),
            MetricType::GAUGE => self.push(name, labels, None, metric.get_gauge().get_value()),
            MetricType::UNTYPED => {} // this registry makes none
            MetricType::HISTOGRAM => {
                let h = metric.get_histogram();
                let bucket = format!("{name}_bucket");
                for b in h.get_bucket().iter().filter(|b| b.upper_bound().is_finite()) {
                    let le = b.upper_bound().to_string();
                    self.push(&bucket, labels, Some(("le", &le)), b.cumulative_count() as f64);
                }
                self.push(&bucket, labels, Some(("le", "+Inf")), h.get_sample_count() as f64);
                self.push(&format!("{name}_sum"), labels, None, h.get_sample_sum());
                self.push(&format!("{name}_count"), labels, None, h.get_sample_count() as f64);
            }
            MetricType::SUMMARY => {
                let s = metric.get_summary();
                for q in s.get_quantile() {
                    let quantile = q.quantile().to_string();
                    self.push(name, labels, Some(("quantile", &quantile)), q.value());
                }
                self.push(&format!("{name}_sum"), labels, None, s.sample_sum());
                self.push(&format!("{name}_count"), labels, None, s.sample_count() as f64);
            }
        }
    }

    fn push(
        &mut self,
        name: &str,
        labels: &[prometheus::proto::LabelPair],
        extra: Option<(&str, &str)>,
        value: f64,
    ) {
        let mut b = LabelsBuilder::from_labels(self.target.as_ref());
        b.set(METRIC_NAME, name);
        for l in labels {
            b.set(l.name(), l.value());
        }
        if let Some((n, v)) = extra {
            b.set(n, v);
        }
        self.batch.push_floats(b.build().as_ref(), &[(self.t_ms, value)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::Metrics;

    #[test]
    fn a_registry_becomes_the_series_of_a_scrape() {
        let metrics = Metrics::new();
        metrics.counter_vec("c_total", "C.", &["code"]).with_label_values(&["200"]).inc_by(3);
        metrics.histogram("h_seconds", "H.", &[0.5, 1.0]).observe(0.7);
        let target = Labels::from_pairs([("job", "cairn"), ("instance", "i")]).unwrap();
        let batch = to_batch(&metrics.gather(), &target, TenantId::default_tenant(), 1_000);
        let got: Vec<String> = batch
            .series
            .iter()
            .map(|s| {
                let v = batch.floats.value[s.floats.start as usize];
                format!("{} {v}", batch.labels_of(s).unwrap())
            })
            .collect();
        assert_eq!(
            got,
            [
                r#"up{instance="i", job="cairn"} 1"#,
                r#"c_total{code="200", instance="i", job="cairn"} 3"#,
                r#"h_seconds_bucket{instance="i", job="cairn", le="0.5"} 0"#,
                r#"h_seconds_bucket{instance="i", job="cairn", le="1"} 1"#,
                r#"h_seconds_bucket{instance="i", job="cairn", le="+Inf"} 1"#,
                r#"h_seconds_sum{instance="i", job="cairn"} 0.7"#,
                r#"h_seconds_count{instance="i", job="cairn"} 1"#,
            ]
        );
        assert!(batch.floats.t_ms.iter().all(|t| *t == 1_000));
    }
}
