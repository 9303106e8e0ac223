//! Native histograms for both servers, which the demo service has none of.

use std::sync::Arc;

use anyhow::Result;
use cairn_model::{Histogram, Span, Value};
use cairn_proto::encode::{Sample, TimeSeries, WriteRequest};

use crate::pair::Pair;

/// Distance of the samples, and how many there are: fifty minutes, which Prometheus takes in order.
const EVERY_S: u64 = 15;
const SAMPLES: u64 = 200;

/// Sends `demo_native_seconds`, two counters that grow until they begin anew: one of integers, one of floats and with more
/// buckets, so that their samples differ in size.
pub fn send(pair: &Pair) -> Result<()> {
    let series = [false, true].map(|floats| TimeSeries {
        labels: [("__name__", "demo_native_seconds"), ("of", if floats { "floats" } else { "integers" })]
            .map(|(n, v)| (n.to_owned(), v.to_owned()))
            .into(),
        samples: (0..SAMPLES)
            .map(|i| {
                let h = histogram(i, if floats { 9 } else { 4 });
                let value = match floats {
                    true => Value::FloatHistogram(Arc::new(h.to_float())),
                    false => Value::Histogram(Arc::new(h)),
                };
                let t_ms = (pair.end_s - (SAMPLES - 1 - i) * EVERY_S) as i64 * 1000;
                Sample { t_ms, start_ms: 0, value }
            })
            .collect(),
        ..TimeSeries::default()
    });
    pair.write(&WriteRequest { series: series.into(), ..WriteRequest::default() })
}

/// All samples of a series have the same buckets: Prometheus counts those of a sample's chunk, not of the sample.
fn histogram(i: u64, buckets: u64) -> Histogram {
    let each = 1 + i % 120;
    Histogram {
        schema: 1,
        zero_threshold: 0.001,
        zero_count: each,
        count: each * (buckets + 1),
        sum: each as f64 * 1.25,
        positive_spans: vec![Span { offset: 0, length: buckets as u32 }],
        positive_buckets: std::iter::once(each as i64).chain((1..buckets).map(|_| 0)).collect(),
        ..Histogram::default()
    }
}
