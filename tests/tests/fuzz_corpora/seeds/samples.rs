//! Samples of every kind.

use std::sync::Arc;

use cairn_model::sample::stale_nan;
use cairn_model::{FloatHistogram, Histogram, Span, Value};

pub const T0_MS: i64 = 1_700_000_000_000;

/// Counters, constants, jumps, specials.
pub fn floats() -> Vec<Value> {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, stale_nan(), f64::MIN_POSITIVE / 4.0];
    let counter = (0..20).map(|i| f64::from(i * 7));
    counter.chain([1.5; 8]).chain(special).map(Value::Float).collect()
}

/// Growing counters with a reset and a new bucket on the way, and a stale marker at the end.
pub fn histograms() -> Vec<Value> {
    let one = |n: u64, length: u32| {
        let rest = (1..length).map(|_| 0);
        Value::Histogram(Arc::new(Histogram {
            schema: 1,
            zero_threshold: 0.001,
            zero_count: n,
            count: n + n * u64::from(length) * 2,
            sum: n as f64 * 1.25,
            positive_spans: vec![Span { offset: -2, length }],
            positive_buckets: std::iter::once(n as i64).chain(rest.clone()).collect(),
            negative_spans: vec![Span { offset: 3, length: 1 }, Span { offset: 2, length: length - 1 }],
            negative_buckets: std::iter::once(n as i64).chain(rest).collect(),
            ..Histogram::default()
        }))
    };
    let stale = Value::Histogram(Arc::new(Histogram { sum: stale_nan(), ..Histogram::default() }));
    [one(1, 2), one(3, 2), one(7, 3), one(2, 3), stale].into()
}

/// The same with float counts.
pub fn float_histograms() -> Vec<Value> {
    let to_float = |v| match v {
        Value::Histogram(h) => Value::FloatHistogram(Arc::new(FloatHistogram { count: 0.5, ..h.to_float() })),
        other => other,
    };
    histograms().into_iter().map(to_float).collect()
}

/// Custom buckets.
pub fn custom_histograms() -> Vec<Value> {
    let one = |n: i64| {
        Value::Histogram(Arc::new(Histogram {
            schema: -53,
            count: 3 * n as u64,
            sum: n as f64,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive_buckets: vec![n, 0, 0],
            custom_values: vec![0.1, 1.0],
            ..Histogram::default()
        }))
    };
    (1..5).map(one).collect()
}
