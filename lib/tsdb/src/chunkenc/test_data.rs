//! Generators of samples for the property tests of the codecs.

use std::sync::Arc;

use cairn_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use cairn_model::{CounterResetHint, FloatHistogram, Histogram, Span, Value};
use proptest::prelude::*;

/// Floats as series have them: small integers, fractions, specials and arbitrary bits.
pub fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-1000i32..1000).prop_map(f64::from),
        2 => (-1000i32..1000).prop_map(|v| f64::from(v) / 8.0),
        1 => any::<f64>(),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![
            0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE / 4.0,
            f64::from_bits(cairn_model::sample::NORMAL_NAN_BITS), cairn_model::sample::stale_nan(),
        ]),
    ]
}

/// Increasing times with regular, jittered and long steps.
pub fn times(len: usize) -> impl Strategy<Value = Vec<i64>> {
    let step = prop_oneof![
        6 => Just(15_000i64),
        2 => 14_990i64..15_010,
        1 => 1i64..100_000_000,
        1 => Just(1i64),
    ];
    (-1_000_000i64..2_000_000_000_000, prop::collection::vec(step, 0..len)).prop_map(|(start, steps)| {
        let mut t = start;
        let mut out = Vec::with_capacity(steps.len());
        for s in steps {
            out.push(t);
            t += s;
        }
        out
    })
}

/// Columns of one float series of up to `len` samples.
pub fn float_columns(len: usize) -> impl Strategy<Value = (Vec<i64>, Vec<f64>)> {
    times(len).prop_flat_map(|t| {
        let n = t.len();
        (Just(t), prop::collection::vec(any_float(), n))
    })
}

/// Spans of at most 4 runs, some of length 0, and as many absolute counts.
fn side() -> impl Strategy<Value = (Vec<Span>, Vec<u8>)> {
    prop::collection::vec((-3i32..4, 0u32..4), 0..4).prop_flat_map(|raw| {
        let spans: Vec<Span> = raw
            .iter()
            .enumerate()
            .map(|(i, (offset, length))| Span {
                offset: if i == 0 { *offset } else { offset.abs() },
                length: *length,
            })
            .collect();
        let buckets = spans.iter().map(|s| s.length as usize).sum::<usize>();
        (Just(spans), prop::collection::vec(prop_oneof![Just(0u8), 0u8..5], buckets))
    })
}

/// An integer histogram; one in eight is a stale marker, one in eight has custom buckets.
pub fn histogram() -> impl Strategy<Value = Histogram> {
    let hint = prop::sample::select(vec![
        CounterResetHint::Unknown,
        CounterResetHint::Unknown,
        CounterResetHint::NotReset,
        CounterResetHint::Reset,
        CounterResetHint::Gauge,
    ]);
    (side(), side(), any_float(), 0u64..4, hint, 0u8..16, 0i32..2).prop_map(
        |((positive_spans, p), (negative_spans, n), sum, zero_count, reset_hint, kind, schema)| {
            let mut h = Histogram {
                reset_hint,
                schema,
                zero_threshold: 0.001,
                zero_count,
                count: zero_count + p.iter().chain(&n).map(|&c| u64::from(c)).sum::<u64>(),
                sum,
                positive_spans,
                negative_spans,
                positive_buckets: deltas(&p),
                negative_buckets: deltas(&n),
                custom_values: Vec::new(),
            };
            match kind {
                0 | 1 => h = Histogram { sum: cairn_model::sample::stale_nan(), ..Histogram::default() },
                2 | 3 => {
                    h.schema = CUSTOM_BUCKETS_SCHEMA;
                    h.zero_threshold = 0.0;
                    h.zero_count = 0;
                    h.negative_spans.clear();
                    h.negative_buckets.clear();
                    if let Some(first) = h.positive_spans.first_mut() {
                        first.offset = first.offset.abs();
                    }
                    h.custom_values = (0..30).map(|i| f64::from(i) * 0.25).chain([1e6, 1e7 + 0.1]).collect();
                }
                _ => {}
            }
            h
        },
    )
}

fn deltas(absolute: &[u8]) -> Vec<i64> {
    let mut before = 0;
    absolute
        .iter()
        .map(|&c| {
            let d = i64::from(c) - before;
            before = i64::from(c);
            d
        })
        .collect()
}

/// A float histogram with fractional counts.
pub fn float_histogram() -> impl Strategy<Value = FloatHistogram> {
    (histogram(), 1u8..4).prop_map(|(h, divisor)| {
        let mut f = h.to_float();
        if !f.is_stale() {
            for c in f.positive_buckets.iter_mut().chain(&mut f.negative_buckets) {
                *c /= f64::from(divisor);
            }
            f.count /= f64::from(divisor);
        }
        f
    })
}

/// Any value, in runs of one kind as real series have them.
pub fn values(n: usize) -> impl Strategy<Value = Vec<Value>> {
    let one = prop_oneof![
        any_float().prop_map(Value::Float),
        histogram().prop_map(|h| Value::Histogram(Arc::new(h))),
        float_histogram().prop_map(|h| Value::FloatHistogram(Arc::new(h))),
    ];
    let run = prop_oneof![
        prop::collection::vec(any_float().prop_map(Value::Float), 1..30),
        prop::collection::vec(histogram().prop_map(|h| Value::Histogram(Arc::new(h))), 1..30),
        prop::collection::vec(float_histogram().prop_map(|h| Value::FloatHistogram(Arc::new(h))), 1..30),
        prop::collection::vec(one, 1..4),
    ];
    prop::collection::vec(run, 1..8).prop_map(move |runs| {
        let mut all: Vec<Value> = runs.into_iter().flatten().collect();
        all.truncate(n);
        all
    })
}
