//! Sums and means of histograms, over time and over series.
//!
//! [`HistogramMean`] is both: sums do not lose precision, and a mean switches to an incremental one when the sum
//! overflows.

use std::sync::Arc;

use cairn_model::histogram::{HistogramSum, IncompatibleSchemas, Reconciled};
use cairn_model::kahan::Kahan;
use cairn_model::{CounterResetHint, FloatHistogram};

use super::window::{RangeContext, Samples};
use crate::annotations::{HistogramOp, Note};

/// Numbers below this can be added without overflow.
const SAFE: f64 = f64::MAX / 4.0;

/// A sum or mean of histograms under way.
#[derive(Debug, Clone)]
pub struct HistogramMean {
    total: HistogramSum<Kahan>,
    count: f64,
    incremental: bool,
    /// Whether a hint of reset and one of no reset were seen.
    reset_seen: bool,
    no_reset_seen: bool,
}

impl HistogramMean {
    /// Begins with `h`.
    pub fn new(h: &FloatHistogram) -> Self {
        let mut mean = HistogramMean {
            total: HistogramSum::new(h),
            count: 1.0,
            incremental: false,
            reset_seen: false,
            no_reset_seen: false,
        };
        mean.see(h.reset_hint);
        mean
    }

    fn see(&mut self, hint: CounterResetHint) {
        self.reset_seen |= hint == CounterResetHint::Reset;
        self.no_reset_seen |= hint == CounterResetHint::NotReset;
    }

    /// Adds `h` to a sum.
    ///
    /// # Errors
    /// Exponential and custom buckets are mixed.
    pub fn add_to_sum(&mut self, h: &FloatHistogram) -> Result<Reconciled, IncompatibleSchemas> {
        self.see(h.reset_hint);
        self.count += 1.0;
        self.total.add(h, 1.0)
    }

    /// Adds `h` to a mean.
    ///
    /// # Errors
    /// Exponential and custom buckets are mixed.
    pub fn add_to_mean(&mut self, h: &FloatHistogram) -> Result<Reconciled, IncompatibleSchemas> {
        self.see(h.reset_hint);
        self.count += 1.0;
        if !self.incremental {
            // A copy is needed only when the sum comes near to overflowing.
            let before = (!is_small(h) || !self.total_is_small()).then(|| self.total.clone());
            let done = self.total.add(h, 1.0)?;
            let Some(before) = before.filter(|_| self.total.has_overflow()) else { return Ok(done) };
            self.total = before;
            self.incremental = true;
            self.total.divide(self.count - 1.0);
        }
        self.total.scale((self.count - 1.0) / self.count);
        let mut share = h.clone();
        share.div(self.count);
        self.total.add(&share, 1.0)
    }

    fn total_is_small(&self) -> bool {
        self.total.largest() < SAFE
    }

    /// Joins another part; `mean` says what both are.
    ///
    /// # Errors
    /// Exponential and custom buckets are mixed.
    pub fn merge(&mut self, o: &HistogramMean, mean: bool) -> Result<Reconciled, IncompatibleSchemas> {
        self.reset_seen |= o.reset_seen;
        self.no_reset_seen |= o.no_reset_seen;
        let count = self.count + o.count;
        let other = o.total.finish();
        let overflows = !is_small(&other) || !self.total_is_small();
        let done = if mean && (self.incremental || o.incremental || overflows) {
            let share = |part: &HistogramMean| {
                if part.incremental { part.count / count } else { 1.0 / count }
            };
            self.total.scale(share(self));
            self.incremental = true;
            self.total.add(&other, share(o))
        } else {
            self.total.add(&other, 1.0)
        };
        self.count = count;
        done
    }

    /// Whether the hints of what was added contradict each other.
    pub fn has_collision(&self) -> bool {
        self.reset_seen && self.no_reset_seen
    }

    /// The sum.
    pub fn sum(&self) -> FloatHistogram {
        self.total.finish()
    }

    /// The mean.
    pub fn mean(&self) -> FloatHistogram {
        if self.incremental {
            return self.total.finish();
        }
        let mut h = self.total.finish();
        h.div(self.count);
        h
    }
}

fn is_small(h: &FloatHistogram) -> bool {
    let numbers = [h.zero_count, h.count, h.sum];
    numbers.iter().chain(&h.positive_buckets).chain(&h.negative_buckets).all(|x| x.abs() < SAFE)
}

/// `sum_over_time` and `avg_over_time` of histograms; there is at least one.
pub fn sum_or_mean(
    s: Samples<'_, Arc<FloatHistogram>>,
    mean: bool,
    ctx: &mut RangeContext<'_>,
) -> Option<FloatHistogram> {
    let mut total = HistogramMean::new(&s.value[0]);
    let mut bounds_differed = false;
    for h in &s.value[1..] {
        let done = if mean { total.add_to_mean(h) } else { total.add_to_sum(h) };
        match done {
            Ok(r) => bounds_differed |= r.custom_bounds,
            Err(_) => {
                ctx.note(Note::MixedExponentialCustom);
                return None;
            }
        }
    }
    if total.has_collision() {
        ctx.note_unnamed(Note::ResetCollision(HistogramOp::Aggregation));
    }
    if bounds_differed {
        ctx.note_unnamed(Note::MismatchedCustomBuckets(HistogramOp::Aggregation));
    }
    Some(if mean { total.mean() } else { total.sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(count: f64) -> FloatHistogram {
        FloatHistogram { count, sum: count, zero_count: count, ..FloatHistogram::default() }
    }

    #[test]
    fn a_mean_survives_what_overflows_a_sum() {
        let mut m = HistogramMean::new(&counting(f64::MAX));
        m.add_to_mean(&counting(f64::MAX)).unwrap();
        m.add_to_mean(&counting(f64::MAX)).unwrap();
        assert!((m.mean().count / f64::MAX - 1.0).abs() < 1e-15);
        let mut other = HistogramMean::new(&counting(2.0));
        other.add_to_mean(&counting(4.0)).unwrap();
        assert_eq!(other.mean().count, 3.0);
        let mut third = HistogramMean::new(&counting(9.0));
        third.merge(&other, true).unwrap();
        assert_eq!(third.mean().count, 5.0);
    }
}
