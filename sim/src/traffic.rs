//! Write requests from a seed: a few tenants and series, floats, histograms and stale markers, in order and late,
//! repeated, in conflict, too old and too far ahead.

use std::sync::Arc;

use cairn_model::sample::stale_nan;
use cairn_model::{FloatHistogram, Histogram, Labels, Span, TenantId, TimestampMs, Value};
use cairn_proto::Version;
use cairn_proto::encode::{Sample, TimeSeries, WriteRequest, encode_v1, encode_v2, snappy_block};
use cairn_runtime::Rng;

/// Tenants that write.
const TENANTS: [&str; 3] = ["acme", "umbrella", "initech"];
/// Series of each tenant.
const SERIES: u64 = 10;
/// Series of a request, at most.
const MAX_SERIES: u64 = 8;
/// How far late samples lie back: nearly the late window of the product, which is 6 h.
const LATE_MS: u64 = 6 * 3_600_000 - 120_000;
/// How far early samples lie ahead: nearly the 10 min that the product takes.
const EARLY_MS: u64 = 9 * 60_000;

/// A request as a sender holds it until it is answered.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Whose.
    pub tenant: TenantId,
    /// Which version of remote write.
    pub version: Version,
    /// Labels and samples; a series may occur more than once.
    pub series: Vec<(Labels, Vec<(TimestampMs, Value)>)>,
}

impl Offer {
    /// Random samples around `now_ms`.
    pub fn random(rng: &Rng, now_ms: TimestampMs) -> Self {
        let tenant = TENANTS[rng.below(TENANTS.len() as u64) as usize];
        let version = if rng.below(2) == 0 { Version::V1 } else { Version::V2 };
        let series = (0..1 + rng.below(MAX_SERIES)).map(|_| {
            let labels = labels(rng.below(SERIES));
            let samples =
                (0..1 + rng.below(3)).map(|_| (random_time(rng, now_ms), random_value(rng))).collect();
            (labels, samples)
        });
        let series = series.collect();
        Offer { tenant: TenantId::new(tenant).expect("a valid tenant"), version, series }
    }

    /// The body of the request.
    pub fn body(&self) -> Vec<u8> {
        let series = self.series.iter().map(|(labels, samples)| TimeSeries {
            labels: labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            samples: samples
                .iter()
                .map(|(t, v)| Sample { t_ms: *t, start_ms: 0, value: v.clone() })
                .collect(),
            ..TimeSeries::default()
        });
        let request = WriteRequest { series: series.collect(), metadata: Vec::new() };
        snappy_block(&match self.version {
            Version::V1 => encode_v1(&request),
            Version::V2 => encode_v2(&request),
        })
    }

    /// Every sample with its labels.
    pub fn samples(&self) -> impl Iterator<Item = (&Labels, TimestampMs, &Value)> {
        self.series.iter().flat_map(|(labels, samples)| samples.iter().map(move |(t, v)| (labels, *t, v)))
    }
}

fn labels(n: u64) -> Labels {
    let (name, job, n) = (format!("metric_{}", n % 3), format!("job_{}", n % 2), n.to_string());
    Labels::from_pairs([("__name__", name.as_str()), ("job", job.as_str()), ("n", n.as_str())])
        .expect("names are unique")
}

/// Mostly the present scrape, so that repeats and conflicts happen; sometimes late, early, or not to be taken.
fn random_time(rng: &Rng, now_ms: TimestampMs) -> TimestampMs {
    const SCRAPE_MS: i64 = 15_000;
    let scrape_ms = now_ms - now_ms.rem_euclid(SCRAPE_MS);
    match rng.below(40) {
        0 => now_ms - 8 * 3_600_000 - rng.below(3_600_000) as i64,
        1 => now_ms + 15 * 60_000 + rng.below(3_600_000) as i64,
        2 => now_ms - rng.below(LATE_MS) as i64,
        3 => now_ms + rng.below(EARLY_MS) as i64,
        4 | 5 => scrape_ms - SCRAPE_MS * rng.below(60) as i64,
        6 => now_ms - rng.below(1_000) as i64,
        _ => scrape_ms,
    }
}

fn random_value(rng: &Rng) -> Value {
    match rng.below(16) {
        0 => Value::Float(stale_nan()),
        1 => Value::Float(f64::from_bits(rng.next_u64())),
        2 | 3 => {
            let (zero, first) = (rng.below(4), rng.below(4));
            Value::Histogram(Arc::new(Histogram {
                schema: rng.below(3) as i32,
                zero_threshold: 0.001,
                zero_count: zero,
                count: zero + 2 * first,
                sum: rng.below(5) as f64,
                positive_spans: vec![Span { offset: rng.below(3) as i32, length: 2 }],
                positive_buckets: vec![first as i64, 0],
                ..Histogram::default()
            }))
        }
        4 => {
            let buckets = vec![rng.below(4) as f64 / 2.0, 1.5];
            Value::FloatHistogram(Arc::new(FloatHistogram {
                schema: -53,
                count: buckets.iter().sum(),
                sum: 0.5,
                positive_spans: vec![Span { offset: 0, length: 2 }],
                positive_buckets: buckets,
                custom_values: vec![0.1, 1.0],
                ..FloatHistogram::default()
            }))
        }
        5..=8 => Value::Float(rng.below(3) as f64),
        _ => Value::Float(rng.unit()),
    }
}
