//! Walking the buckets of a float histogram with their bounds.

use super::bounds::upper_bound;
use super::{CUSTOM_BUCKETS_SCHEMA, FloatHistogram, Span};

/// One bucket with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether an observation equal to `lower` is in the bucket.
    pub lower_inclusive: bool,
    /// Whether an observation equal to `upper` is in the bucket.
    pub upper_inclusive: bool,
    /// Observations in the bucket.
    pub count: f64,
    /// Index within the schema; 0 and without meaning for the zero bucket.
    pub index: i32,
}

impl Bucket {
    /// Which part of the bucket's observations lies below `v`, assuming them spread evenly on a linear or on a
    /// logarithmic scale. Negative buckets mirror positive ones. `v` must be inside the bucket.
    pub fn fraction_below(&self, v: f64, linear: bool) -> f64 {
        if linear {
            return (v - self.lower) / (self.upper - self.lower);
        }
        let (lower, upper, at) = (self.lower.abs().log2(), self.upper.abs().log2(), v.abs().log2());
        if v > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    }
}

/// The indexes of the buckets that `spans` describe, rising.
pub(super) fn indexes(spans: &[Span]) -> impl Iterator<Item = i32> + '_ {
    let mut next = 0i32;
    spans.iter().flat_map(move |span| {
        next = next.wrapping_add(span.offset);
        let start = next;
        next = next.wrapping_add(span.length as i32);
        (0..span.length as i32).map(move |i| start.wrapping_add(i))
    })
}

impl FloatHistogram {
    /// Whether the buckets have explicit bounds (schema −53).
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// `(index, count)` of the positive buckets, rising.
    pub fn positive(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        indexes(&self.positive_spans).zip(self.positive_buckets.iter().copied())
    }

    /// `(index, count)` of the negative buckets, from zero downwards.
    pub fn negative(&self) -> impl Iterator<Item = (i32, f64)> + '_ {
        indexes(&self.negative_spans).zip(self.negative_buckets.iter().copied())
    }

    /// The positive buckets, rising.
    pub fn positive_buckets_with_bounds(&self) -> impl Iterator<Item = Bucket> + '_ {
        let custom = self.uses_custom_buckets();
        self.positive().map(move |(index, count)| {
            let lower = upper_bound(index - 1, self.schema, &self.custom_values);
            let upper = upper_bound(index, self.schema, &self.custom_values);
            Bucket {
                lower,
                upper,
                lower_inclusive: if custom { index == 0 } else { lower < 0.0 },
                upper_inclusive: custom || upper > 0.0,
                count,
                index,
            }
        })
    }

    /// The negative buckets, from zero downwards.
    pub fn negative_buckets_with_bounds(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.negative().map(move |(index, count)| {
            let lower = -upper_bound(index, self.schema, &[]);
            let upper = -upper_bound(index - 1, self.schema, &[]);
            Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count, index }
        })
    }

    /// The zero bucket. Custom buckets have none; theirs is empty.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
            index: 0,
        }
    }

    /// All buckets from the lowest to the highest: negative ones, the zero bucket if it is populated, positive
    /// ones. A bucket that reaches into the zero bucket is cut at the zero threshold.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        let mut all = Vec::with_capacity(self.negative_buckets.len() + self.positive_buckets.len() + 1);
        all.extend(self.negative_buckets_with_bounds());
        all.reverse();
        if self.zero_count > 0.0 {
            all.push(self.zero_bucket());
        }
        all.extend(self.positive_buckets_with_bounds());
        let threshold = self.zero_threshold;
        for b in &mut all {
            if b.upper < 0.0 && b.upper > -threshold {
                b.upper = -threshold;
            } else if b.lower > 0.0 && b.lower < threshold {
                b.lower = threshold;
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_come_in_order_with_their_bounds() {
        let h = FloatHistogram {
            schema: 0,
            zero_threshold: 0.3,
            zero_count: 2.0,
            positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 1, length: 1 }],
            positive_buckets: vec![1.0, 2.0, 3.0],
            negative_spans: vec![Span { offset: 1, length: 2 }],
            negative_buckets: vec![4.0, 5.0],
            ..Default::default()
        };
        let got: Vec<_> = h.all_buckets().iter().map(|b| (b.lower, b.upper, b.count)).collect();
        let want = [
            (-4.0, -2.0, 5.0),
            (-2.0, -1.0, 4.0),
            (-0.3, 0.3, 2.0),
            (0.3, 0.5, 1.0),
            (0.5, 1.0, 2.0),
            (2.0, 4.0, 3.0),
        ];
        assert_eq!(got, want);
        let first = h.negative_buckets_with_bounds().next().unwrap();
        assert!(first.lower_inclusive && !first.upper_inclusive);
        let first = h.positive_buckets_with_bounds().next().unwrap();
        assert!(!first.lower_inclusive && first.upper_inclusive);
    }
}
