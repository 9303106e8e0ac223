//! Random values of every kind that a series can hold.

use std::sync::Arc;

use cairn_model::sample::stale_nan;
use cairn_model::{CounterResetHint, FloatHistogram, Histogram, Span, Value};
use cairn_runtime::Rng;

/// Few enough different ones that repeats and conflicts happen, of all kinds.
pub fn random_value(rng: &Rng) -> Value {
    match rng.below(14) {
        0 => Value::Float(stale_nan()),
        1 => Value::Histogram(Arc::new(Histogram { sum: stale_nan(), ..Histogram::default() })),
        2 | 3 => Value::Histogram(Arc::new(integer(rng))),
        4 => Value::FloatHistogram(Arc::new(integer(rng).to_float())),
        5 => Value::FloatHistogram(Arc::new(fractions(rng))),
        6 => Value::Histogram(Arc::new(custom(rng))),
        7 => Value::FloatHistogram(Arc::new(custom(rng).to_float())),
        8 => Value::Float(f64::from_bits(rng.next_u64())),
        _ => Value::Float(rng.below(4) as f64),
    }
}

/// Counters and gauges with buckets on both sides, whose layout changes from sample to sample.
fn integer(rng: &Rng) -> Histogram {
    let (zero, first) = (rng.below(4), rng.below(4));
    let second = rng.below(2);
    Histogram {
        schema: rng.below(2) as i32,
        zero_threshold: 0.001,
        zero_count: zero,
        count: zero + first + second * 2,
        sum: rng.below(5) as f64,
        positive_spans: vec![Span { offset: rng.below(3) as i32, length: 1 }, Span { offset: 2, length: 1 }],
        positive_buckets: vec![first as i64, second as i64 - first as i64],
        negative_spans: vec![Span { offset: rng.below(3) as i32 - 1, length: 1 }],
        negative_buckets: vec![second as i64],
        reset_hint: match rng.below(3) {
            0 => CounterResetHint::Gauge,
            _ => CounterResetHint::Unknown,
        },
        ..Histogram::default()
    }
}

/// Counts that are no whole numbers.
fn fractions(rng: &Rng) -> FloatHistogram {
    let buckets = vec![rng.below(4) as f64 / 2.0, 1.5];
    FloatHistogram {
        schema: 2,
        zero_threshold: 1e-9,
        zero_count: 0.25,
        count: 0.25 + buckets.iter().sum::<f64>(),
        sum: 0.5,
        positive_spans: vec![Span { offset: -3, length: 2 }],
        positive_buckets: buckets,
        ..FloatHistogram::default()
    }
}

/// Custom buckets, with one of two lists of bounds.
fn custom(rng: &Rng) -> Histogram {
    let (bounds, n) = ([vec![0.1, 1.0], vec![0.5]][rng.below(2) as usize].clone(), rng.below(4));
    Histogram {
        schema: -53,
        count: n * 2,
        sum: n as f64,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![n as i64, 0],
        custom_values: bounds,
        ..Histogram::default()
    }
}
