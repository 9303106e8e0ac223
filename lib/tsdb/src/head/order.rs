//! One total order of values, so that replicas, readers and blocks converge when a timestamp has two values.
//!
//! Histogram over number over stale marker; within a kind by canonical content. Start timestamp and reset hint take
//! no part, and neither do empty buckets or the way spans describe them, because a chunk does not keep those.
//!
//! Invariant: a total order on values up to what chunks keep; `Equal` means that a reader cannot tell them apart.

use std::cmp::Ordering;

use cairn_model::{FloatHistogram, Histogram, Span, Value};

/// Compares two values offered for one timestamp; the greater one is kept.
pub fn compare(a: &Value, b: &Value) -> Ordering {
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        _ if a.is_stale() => Ordering::Equal,
        (Value::Float(x), Value::Float(y)) => x.to_bits().cmp(&y.to_bits()),
        (Value::Histogram(x), Value::Histogram(y)) => Content::of_integer(x).cmp(&Content::of_integer(y)),
        (Value::FloatHistogram(x), Value::FloatHistogram(y)) => {
            Content::of_float(x).cmp(&Content::of_float(y))
        }
        _ => unreachable!("values of one rank are of one kind"),
    })
}

/// Whether a reader cannot tell the two apart.
pub fn same(a: &Value, b: &Value) -> bool {
    compare(a, b) == Ordering::Equal
}

fn rank(v: &Value) -> u8 {
    match v {
        _ if v.is_stale() => 0,
        Value::Float(_) => 1,
        Value::FloatHistogram(_) => 2,
        Value::Histogram(_) => 3,
    }
}

/// A histogram without what chunks do not keep; compared field by field.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    schema: i32,
    zero_threshold: u64,
    zero_count: u64,
    count: u64,
    sum: u64,
    positive: Vec<(i64, u64)>,
    negative: Vec<(i64, u64)>,
    custom_values: Vec<u64>,
}

impl Content {
    fn of_integer(h: &Histogram) -> Self {
        Content {
            schema: h.schema,
            zero_threshold: h.zero_threshold.to_bits(),
            zero_count: h.zero_count,
            count: h.count,
            sum: h.sum.to_bits(),
            positive: populated(&h.positive_spans, absolute(&h.positive_buckets), 0),
            negative: populated(&h.negative_spans, absolute(&h.negative_buckets), 0),
            custom_values: h.custom_values.iter().map(|v| v.to_bits()).collect(),
        }
    }

    fn of_float(h: &FloatHistogram) -> Self {
        let bits = |buckets: &[f64]| buckets.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        Content {
            schema: h.schema,
            zero_threshold: h.zero_threshold.to_bits(),
            zero_count: h.zero_count.to_bits(),
            count: h.count.to_bits(),
            sum: h.sum.to_bits(),
            positive: populated(&h.positive_spans, bits(&h.positive_buckets), 0f64.to_bits()),
            negative: populated(&h.negative_spans, bits(&h.negative_buckets), 0f64.to_bits()),
            custom_values: bits(&h.custom_values),
        }
    }
}

fn absolute(deltas: &[i64]) -> Vec<u64> {
    let mut current = 0i64;
    let mut add = |d: &i64| {
        current = current.wrapping_add(*d);
        current as u64
    };
    deltas.iter().map(&mut add).collect()
}

/// `(index, count)` of the buckets that are not empty.
fn populated(spans: &[Span], counts: Vec<u64>, empty: u64) -> Vec<(i64, u64)> {
    let mut next = 0i64;
    let indexes = spans.iter().flat_map(|span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    });
    indexes.zip(counts).filter(|(_, count)| *count != empty).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::CounterResetHint;
    use cairn_model::sample::stale_nan;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn histogram(spans: Vec<Span>, buckets: Vec<i64>, hint: CounterResetHint) -> Value {
        Value::Histogram(Arc::new(Histogram {
            reset_hint: hint,
            positive_spans: spans,
            positive_buckets: buckets,
            count: 3,
            ..Default::default()
        }))
    }

    #[test]
    fn what_chunks_do_not_keep_makes_no_difference() {
        let span = |offset, length| Span { offset, length };
        let plain = histogram(vec![span(2, 1)], vec![3], CounterResetHint::Unknown);
        let widened = histogram(vec![span(0, 2), span(0, 2)], vec![0, 0, 3, -3], CounterResetHint::NotReset);
        assert!(same(&plain, &widened));
        let moved = histogram(vec![span(3, 1)], vec![3], CounterResetHint::Unknown);
        assert!(!same(&plain, &moved));
    }

    #[test]
    fn kinds_are_ordered_as_the_design_says() {
        let stale = Value::Float(stale_nan());
        let number = Value::Float(f64::NEG_INFINITY);
        let h = histogram(vec![], vec![], CounterResetHint::Unknown);
        assert_eq!(compare(&h, &number), Ordering::Greater);
        assert_eq!(compare(&number, &stale), Ordering::Greater);
        let stale_histogram =
            Value::Histogram(Arc::new(Histogram { sum: stale_nan(), count: 4, ..Default::default() }));
        assert!(same(&stale, &stale_histogram));
    }

    proptest! {
        #[test]
        fn it_is_a_total_order(a in any::<u64>(), b in any::<u64>(), c in any::<u64>()) {
            let [a, b, c] = [a, b, c].map(|bits| Value::Float(f64::from_bits(bits)));
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
