//! Counter resets between two float histograms of one series.

use super::bounds::{coarser_index, exponential_bound, upper_bound};
use super::{CounterResetHint, FloatHistogram};

impl FloatHistogram {
    /// Whether the counter was reset between `previous` and this histogram.
    ///
    /// A hint of reset or no reset decides. Otherwise it was reset when anything that is counted (not the sum)
    /// got less, a populated bucket vanished, the resolution rose, or the zero bucket shrank or now cuts a bucket
    /// that was populated. A coarser schema or wider zero bucket alone is no reset. Gauges are judged like
    /// counters: whoever asks wants them treated so.
    pub fn detect_reset(&self, previous: &FloatHistogram) -> bool {
        match self.reset_hint {
            CounterResetHint::Reset => return true,
            CounterResetHint::NotReset => return false,
            CounterResetHint::Unknown | CounterResetHint::Gauge => {}
        }
        if self.count < previous.count {
            return true;
        }
        if self.uses_custom_buckets() {
            return !previous.uses_custom_buckets() || self.custom_bucket_shrank(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true; // includes a previous histogram with custom buckets, whose schema number is least
        }
        let (zero_count, threshold) = if self.zero_threshold == previous.zero_threshold {
            (previous.zero_count, previous.zero_threshold)
        } else {
            previous.zero_count_for_threshold(self.zero_threshold)
        };
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        let align = |(i, c): (i32, f64)| (coarser_index(i, previous.schema, self.schema), c);
        let absorbed = |(i, _): &(i32, f64)| exponential_bound(*i, previous.schema) <= self.zero_threshold;
        shrank(self.positive(), previous.positive().skip_while(absorbed).map(align))
            || shrank(self.negative(), previous.negative().skip_while(absorbed).map(align))
    }

    /// Compares at the custom bounds that both have; buckets between them are summed up.
    fn custom_bucket_shrank(&self, previous: &FloatHistogram) -> bool {
        if self.custom_values == previous.custom_values {
            return shrank(self.positive(), previous.positive());
        }
        let common = self
            .custom_values
            .iter()
            .copied()
            .filter(|v| previous.custom_values.binary_search_by(|x| x.total_cmp(v)).is_ok())
            .chain([f64::INFINITY]);
        let mut now = UpTo::new(self);
        let mut before = UpTo::new(previous);
        common.into_iter().any(|bound| now.take(bound) < before.take(bound))
    }
}

/// Whether a bucket of `previous` holds less in `now`. Pairs rise by index; equal indexes may follow one another
/// in `previous` and count together.
fn shrank(now: impl Iterator<Item = (i32, f64)>, previous: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut now = now.peekable();
    let mut previous = previous.peekable();
    while let Some((index, mut before)) = previous.next() {
        while let Some((_, c)) = previous.next_if(|(i, _)| *i == index) {
            before += c;
        }
        while now.next_if(|(i, _)| *i < index).is_some() {}
        let count = now.next_if(|(i, _)| *i == index).map_or(0.0, |(_, c)| c);
        if count < before {
            return true;
        }
    }
    false
}

/// Sums custom buckets up to rising bounds.
struct UpTo<'a> {
    buckets: std::iter::Peekable<Box<dyn Iterator<Item = (i32, f64)> + 'a>>,
    histogram: &'a FloatHistogram,
}

impl<'a> UpTo<'a> {
    fn new(histogram: &'a FloatHistogram) -> Self {
        let buckets: Box<dyn Iterator<Item = (i32, f64)> + 'a> = Box::new(histogram.positive());
        UpTo { buckets: buckets.peekable(), histogram }
    }

    fn take(&mut self, bound: f64) -> f64 {
        let h = self.histogram;
        let mut sum = 0.0;
        while let Some((_, c)) =
            self.buckets.next_if(|(i, _)| upper_bound(*i, h.schema, &h.custom_values) <= bound)
        {
            sum += c;
        }
        sum
    }
}
