//! Quantiles and fractions of float histograms.
//!
//! Observations are taken as spread evenly on a logarithmic scale inside an exponential bucket, and on a linear
//! one inside a custom bucket and the zero bucket. A histogram with buckets on one side only has its zero bucket
//! on that side. Source: Prometheus' documentation of `histogram_quantile` and `histogram_fraction`.

use super::FloatHistogram;
use super::buckets::Bucket;

/// What NaN observations did to a result; a NaN observation is counted but is in no bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanNote {
    /// The quantile lies among the NaN observations: the result is NaN.
    Result,
    /// The result lies higher than without the NaN observations.
    Skew,
    /// The NaN observations are in no fraction.
    Excluded,
}

impl FloatHistogram {
    /// The `q`-quantile. −Inf below 0, +Inf above 1, NaN for a NaN `q` or an empty histogram.
    pub fn quantile(&self, q: f64) -> (f64, Option<NanNote>) {
        if q < 0.0 {
            return (f64::NEG_INFINITY, None);
        }
        if q > 1.0 {
            return (f64::INFINITY, None);
        }
        if self.count == 0.0 || q.is_nan() {
            return (f64::NAN, None);
        }
        // Counting from the nearer end keeps precision; NaN observations are past the upper end, so with them
        // only the lower end is a fixed point.
        let from_below = self.sum.is_nan() || q < 0.5;
        let mut rank = if from_below { q * self.count } else { (1.0 - q) * self.count };
        let mut buckets = self.all_buckets();
        if !from_below {
            buckets.reverse();
        }
        let mut rest = buckets.iter();
        let mut count = 0.0;
        let mut bucket = Bucket {
            lower: 0.0,
            upper: 0.0,
            lower_inclusive: false,
            upper_inclusive: false,
            count: 0.0,
            index: 0,
        };
        for b in rest.by_ref().filter(|b| b.count != 0.0) {
            bucket = *b;
            count += b.count;
            if count >= rank {
                break;
            }
        }
        if self.uses_custom_buckets() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return (bucket.upper, None);
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return (bucket.lower, None);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            bucket = self.zero_bucket_on_its_side(bucket);
        }
        count = count.min(self.count); // rounding may have carried it above
        if count < rank {
            return if self.sum.is_nan() { (f64::NAN, Some(NanNote::Result)) } else { (bucket.upper, None) };
        }
        if from_below {
            rank -= count - bucket.count;
        } else {
            rank = count - rank;
        }
        let in_buckets = count + rest.map(|b| b.count).sum::<f64>();
        let note = (self.sum.is_nan() && in_buckets < self.count).then_some(NanNote::Skew);
        let fraction = rank / bucket.count;
        if self.uses_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            return (bucket.lower + (bucket.upper - bucket.lower) * fraction, note);
        }
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        let value = if bucket.lower > 0.0 {
            (lower + (upper - lower) * fraction).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - fraction)).exp2()
        };
        (value, note)
    }

    /// Which part of the observations lies between `lower` and `upper`. NaN for a NaN bound or an empty
    /// histogram, 0 for an empty range.
    pub fn fraction(&self, lower: f64, upper: f64) -> (f64, Option<NanNote>) {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return (f64::NAN, None);
        }
        if lower >= upper {
            return (0.0, None);
        }
        let buckets = self.all_buckets();
        let mut rank = 0.0;
        let (mut lower_rank, mut upper_rank) = (None, None);
        for b in &buckets {
            let mut b = *b;
            let zero_bucket = b.lower <= 0.0 && b.upper >= 0.0;
            if zero_bucket {
                b = self.zero_bucket_on_its_side(b);
            }
            let linear = self.uses_custom_buckets() || zero_bucket;
            let rank_of = |v: f64| {
                if b.lower >= v {
                    Some(rank)
                } else if b.upper <= v {
                    None
                } else if linear && b.lower == f64::NEG_INFINITY {
                    Some(b.count) // nothing can be said inside a bucket of infinite width
                } else {
                    Some(rank + b.count * b.fraction_below(v, linear))
                }
            };
            lower_rank = lower_rank.or_else(|| rank_of(lower));
            upper_rank = upper_rank.or_else(|| rank_of(upper));
            if lower_rank.is_some() && upper_rank.is_some() {
                break;
            }
            rank += b.count;
        }
        let (mut count, mut note) = (self.count, None);
        if self.sum.is_nan() {
            count = buckets.iter().map(|b| b.count).sum();
            note = (count < self.count).then_some(NanNote::Excluded);
        }
        let clamped = |rank: Option<f64>| rank.map_or(count, |r| if r > count { count } else { r });
        ((clamped(upper_rank) - clamped(lower_rank)) / self.count, note)
    }

    /// Cuts a bucket around zero at zero when the histogram has buckets on one side only.
    fn zero_bucket_on_its_side(&self, mut b: Bucket) -> Bucket {
        match (self.negative_buckets.is_empty(), self.positive_buckets.is_empty()) {
            (true, false) => b.lower = 0.0,
            (false, true) => b.upper = 0.0,
            _ => {}
        }
        b
    }

    /// Variance of the observations, each taken to be in the middle of its bucket: the geometric mean of an
    /// exponential bucket's bounds, the arithmetic one of a custom bucket's, 0 for the zero bucket.
    pub fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut squares = crate::kahan::Kahan::default();
        for b in self.all_buckets().iter().filter(|b| b.count != 0.0) {
            let middle = if self.uses_custom_buckets() {
                (b.upper + b.lower) / 2.0
            } else if b.lower <= 0.0 && b.upper >= 0.0 {
                0.0
            } else {
                (b.upper * b.lower).sqrt().copysign(b.upper)
            };
            let delta = middle - mean;
            squares.add(b.count * delta * delta);
        }
        (squares.sum + squares.c) / self.count
    }
}
