//! Arithmetic of float histograms: add, subtract, scale, compact, reduce resolution.
//!
//! Addition goes through [`HistogramSum`], which holds buckets as `(index, cell)` pairs: a cell is a plain float
//! or a [`Kahan`] sum. Layouts are reconciled as Prometheus does it: the coarser schema wins, the zero buckets
//! widen to a common threshold that cuts no populated bucket, custom bounds shrink to those that both have.
//! Two histograms of the same layout are added in place, without any of that.
//!
//! Invariant: the operands' observations are all in the result (count, and buckets up to their merging).

use super::bounds::{coarser_index, exponential_bound};
use super::buckets::indexes;
use super::{CounterResetHint, FloatHistogram, Span};
use crate::kahan::Kahan;

/// What an addition or subtraction had to do to the operands' layouts and hints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// One operand said "reset", the other "no reset".
    pub reset_collision: bool,
    /// The custom bounds differed and were cut down to the common ones.
    pub custom_bounds: bool,
}

/// One operand has exponential, the other custom buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot apply this operation on histograms with a mix of exponential and custom bucket schemas")]
pub struct IncompatibleSchemas;

/// A count while it is summed up.
pub trait Cell: Copy + Default {
    /// Adds `x`.
    fn add(&mut self, x: f64);
    /// Adds another cell.
    fn merge(&mut self, other: Self);
    /// The sum.
    fn value(self) -> f64;
    /// Multiplies by `factor`.
    fn scale(&mut self, factor: f64);
    /// Divides by `divisor`.
    fn divide(&mut self, divisor: f64);
}

impl Cell for f64 {
    #[inline]
    fn add(&mut self, x: f64) {
        *self += x;
    }
    #[inline]
    fn merge(&mut self, other: f64) {
        *self += other;
    }
    #[inline]
    fn value(self) -> f64 {
        self
    }
    #[inline]
    fn scale(&mut self, factor: f64) {
        *self *= factor;
    }
    #[inline]
    fn divide(&mut self, divisor: f64) {
        *self /= divisor;
    }
}

impl Cell for Kahan {
    #[inline]
    fn add(&mut self, x: f64) {
        Kahan::add(self, x);
    }
    #[inline]
    fn merge(&mut self, other: Kahan) {
        Kahan::merge(self, other);
    }
    #[inline]
    fn value(self) -> f64 {
        // A NaN correction beside an infinite sum is already zero; see Kahan::add.
        Kahan::value(self)
    }
    #[inline]
    fn scale(&mut self, factor: f64) {
        self.sum *= factor;
        self.c *= factor;
    }
    #[inline]
    fn divide(&mut self, divisor: f64) {
        self.sum /= divisor;
        self.c /= divisor;
    }
}

/// A sum of histograms under way. Begin with [`HistogramSum::new`], end with [`HistogramSum::finish`].
#[derive(Debug, Clone)]
pub struct HistogramSum<C> {
    reset_hint: CounterResetHint,
    schema: i32,
    zero_threshold: f64,
    zero: C,
    count: C,
    sum: C,
    positive: Vec<(i32, C)>,
    negative: Vec<(i32, C)>,
    custom_values: Vec<f64>,
}

impl<C: Cell> HistogramSum<C> {
    /// Begins with `h`.
    pub fn new(h: &FloatHistogram) -> Self {
        HistogramSum {
            reset_hint: h.reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            zero: cell(h.zero_count),
            count: cell(h.count),
            sum: cell(h.sum),
            positive: h.positive().map(|(i, c)| (i, cell(c))).collect(),
            negative: h.negative().map(|(i, c)| (i, cell(c))).collect(),
            custom_values: h.custom_values.clone(),
        }
    }

    /// Adds `factor * h`; the factor is 1 or −1 for plain addition and subtraction.
    ///
    /// # Errors
    /// [`IncompatibleSchemas`] when custom and exponential buckets meet; the sum is unchanged then.
    pub fn add(&mut self, h: &FloatHistogram, factor: f64) -> Result<Reconciled, IncompatibleSchemas> {
        if self.uses_custom_buckets() != h.uses_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let (hint, reset_collision) = joined_hint(self.reset_hint, h.reset_hint);
        self.reset_hint = hint;
        let mut custom_bounds = false;
        if self.uses_custom_buckets() {
            custom_bounds = self.custom_values != h.custom_values;
            if custom_bounds {
                self.add_mismatched(h, factor);
            } else {
                add_side(&mut self.positive, h.positive().map(|(i, c)| (i, c * factor)));
            }
        } else {
            let zero = self.reconcile_zero_buckets(h);
            self.zero.add(zero * factor);
            self.reduce_resolution(h.schema.min(self.schema));
            let (from, to, threshold) = (h.schema, self.schema, self.zero_threshold);
            let align = |(i, c): (i32, f64)| (coarser_index(i, from, to), c * factor);
            // Judged in the operand's own schema: a coarser bucket may reach past the threshold.
            let absorbed = |(i, _): &(i32, f64)| exponential_bound(*i, from) <= threshold;
            add_side(&mut self.positive, h.positive().skip_while(absorbed).map(align));
            add_side(&mut self.negative, h.negative().skip_while(absorbed).map(align));
        }
        self.count.add(h.count * factor);
        self.sum.add(h.sum * factor);
        Ok(Reconciled { reset_collision, custom_bounds })
    }

    /// Multiplies everything by `factor`.
    pub fn scale(&mut self, factor: f64) {
        let numbers = [&mut self.zero, &mut self.count, &mut self.sum];
        numbers.into_iter().for_each(|c| c.scale(factor));
        self.positive.iter_mut().chain(&mut self.negative).for_each(|(_, c)| c.scale(factor));
    }

    /// Divides everything by `divisor`, which is more exact than to multiply by its inverse.
    pub fn divide(&mut self, divisor: f64) {
        let numbers = [&mut self.zero, &mut self.count, &mut self.sum];
        numbers.into_iter().for_each(|c| c.divide(divisor));
        self.positive.iter_mut().chain(&mut self.negative).for_each(|(_, c)| c.divide(divisor));
    }

    /// Whether any number in it is infinite.
    pub fn has_overflow(&self) -> bool {
        let infinite = |c: &C| c.value().is_infinite();
        [&self.zero, &self.count, &self.sum].into_iter().any(infinite)
            || self.positive.iter().chain(&self.negative).any(|(_, c)| infinite(c))
    }

    /// The greatest absolute number in it; NaN when there is one.
    pub fn largest(&self) -> f64 {
        let numbers = [&self.zero, &self.count, &self.sum].into_iter();
        let buckets = self.positive.iter().chain(&self.negative).map(|(_, c)| c);
        numbers.chain(buckets).map(|c| c.value().abs()).fold(0.0, |a, b| if a > b { a } else { b })
    }

    /// The finished histogram. Empty buckets stay; see [`FloatHistogram::compact`].
    pub fn finish(&self) -> FloatHistogram {
        let (positive_spans, positive_buckets) =
            from_pairs(self.positive.iter().map(|(i, c)| (*i, c.value())));
        let (negative_spans, negative_buckets) =
            from_pairs(self.negative.iter().map(|(i, c)| (*i, c.value())));
        FloatHistogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero.value(),
            count: self.count.value(),
            sum: self.sum.value(),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values.clone(),
        }
    }

    fn uses_custom_buckets(&self) -> bool {
        self.schema == super::CUSTOM_BUCKETS_SCHEMA
    }

    fn reduce_resolution(&mut self, schema: i32) {
        if schema == self.schema {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            for (i, _) in side.iter_mut() {
                *i = coarser_index(*i, self.schema, schema);
            }
            side.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1.merge(next.1);
                }
                same
            });
        }
        self.schema = schema;
    }

    /// Widens this zero bucket until it and `h`'s can be the same; gives what `h`'s zero count is then.
    fn reconcile_zero_buckets(&mut self, h: &FloatHistogram) -> f64 {
        let (mut count, mut threshold) = (h.zero_count, h.zero_threshold);
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (count, threshold) = h.zero_count_for_threshold(self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                self.widen_zero_bucket(threshold);
            }
        }
        count
    }

    fn widen_zero_bucket(&mut self, threshold: f64) {
        let sides = [&self.positive, &self.negative];
        let counts = sides.map(|s| s.iter().map(|(i, c)| (*i, c.value())).collect::<Vec<_>>());
        let [positive, negative] = &counts;
        self.zero_threshold = widened_threshold(self.schema, threshold, positive, negative);
        for side in [&mut self.positive, &mut self.negative] {
            let inside =
                side.partition_point(|(i, _)| exponential_bound(*i - 1, self.schema) < self.zero_threshold);
            side.drain(..inside).for_each(|(_, c)| self.zero.merge(c));
        }
    }

    /// Maps both operands to the custom bounds that they have in common.
    fn add_mismatched(&mut self, h: &FloatHistogram, factor: f64) {
        let common: Vec<f64> = self
            .custom_values
            .iter()
            .copied()
            .filter(|v| h.custom_values.binary_search_by(|x| x.total_cmp(v)).is_ok())
            .collect();
        let target = |bounds: &[f64], index: i32| -> usize {
            match usize::try_from(index).ok().and_then(|i| bounds.get(i)) {
                Some(bound) => common.partition_point(|c| c < bound),
                None => common.len(),
            }
        };
        let mut cells = vec![C::default(); common.len() + 1];
        for (i, c) in &self.positive {
            cells[target(&self.custom_values, *i)].merge(*c);
        }
        for (i, c) in h.positive() {
            cells[target(&h.custom_values, i)].add(c * factor);
        }
        self.positive = cells
            .into_iter()
            .enumerate()
            .map(|(i, c)| (i as i32, c))
            .filter(|(_, c)| c.value() != 0.0)
            .collect();
        self.custom_values = common;
    }
}

fn cell<C: Cell>(x: f64) -> C {
    let mut c = C::default();
    c.add(x);
    c
}

/// Adds rising `(index, count)` pairs to `side`; pairs of the same index may follow one another.
fn add_side<C: Cell>(side: &mut Vec<(i32, C)>, other: impl Iterator<Item = (i32, f64)>) {
    let mut at = 0;
    let mut missing: Vec<(i32, C)> = Vec::new();
    for (i, x) in other {
        while side.get(at).is_some_and(|(j, _)| *j < i) {
            at += 1;
        }
        match (side.get_mut(at), missing.last_mut()) {
            (Some((j, c)), _) if *j == i => c.add(x),
            (_, Some((j, c))) if *j == i => c.add(x),
            _ => missing.push((i, cell(x))),
        }
    }
    if !missing.is_empty() {
        side.extend(missing);
        side.sort_by_key(|(i, _)| *i); // two sorted runs: one merge pass
    }
}

/// The hint of a sum or difference, and whether the operands' hints contradict each other.
fn joined_hint(a: CounterResetHint, b: CounterResetHint) -> (CounterResetHint, bool) {
    use CounterResetHint::{Gauge, Unknown};
    match (a, b) {
        _ if a == b => (a, false),
        (Gauge, _) | (_, Gauge) => (Gauge, false),
        (Unknown, _) | (_, Unknown) => (Unknown, false),
        _ => (Unknown, true),
    }
}

/// The least threshold ≥ `threshold` that lies in no populated bucket.
fn widened_threshold(schema: i32, threshold: f64, positive: &[(i32, f64)], negative: &[(i32, f64)]) -> f64 {
    let mut widened = threshold;
    loop {
        let before = widened;
        for (i, count) in positive.iter().chain(negative) {
            let upper = exponential_bound(*i, schema);
            if *count != 0.0 && exponential_bound(*i - 1, schema) < widened && upper > widened {
                widened = upper;
            }
        }
        if widened == before {
            return widened;
        }
    }
}

/// Spans and counts of rising `(index, count)` pairs.
pub(super) fn from_pairs(pairs: impl Iterator<Item = (i32, f64)>) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut counts) = (Vec::<Span>::new(), Vec::new());
    let mut next = 0;
    for (i, c) in pairs {
        match spans.last_mut() {
            Some(last) if next == i => last.length += 1,
            Some(_) => spans.push(Span { offset: i - next, length: 1 }),
            None => spans.push(Span { offset: i, length: 1 }),
        }
        next = i + 1;
        counts.push(c);
    }
    (spans, counts)
}

impl FloatHistogram {
    /// Adds `other`. Empty buckets may appear; see [`FloatHistogram::compact`].
    ///
    /// # Errors
    /// [`IncompatibleSchemas`]; `self` is unchanged then.
    pub fn add(&mut self, other: &FloatHistogram) -> Result<Reconciled, IncompatibleSchemas> {
        self.add_scaled(other, 1.0)
    }

    /// Subtracts `other`. Hints are joined as in an addition; the result of the `-` of PromQL is a gauge, which
    /// the caller sets.
    ///
    /// # Errors
    /// [`IncompatibleSchemas`]; `self` is unchanged then.
    pub fn sub(&mut self, other: &FloatHistogram) -> Result<Reconciled, IncompatibleSchemas> {
        self.add_scaled(other, -1.0)
    }

    fn add_scaled(&mut self, other: &FloatHistogram, factor: f64) -> Result<Reconciled, IncompatibleSchemas> {
        if !self.same_layout(other) {
            let mut sum = HistogramSum::<f64>::new(self);
            let reconciled = sum.add(other, factor)?;
            *self = sum.finish();
            return Ok(reconciled);
        }
        let (hint, reset_collision) = joined_hint(self.reset_hint, other.reset_hint);
        self.reset_hint = hint;
        self.zero_count += other.zero_count * factor;
        self.count += other.count * factor;
        self.sum += other.sum * factor;
        let add = |(a, b): (&mut f64, &f64)| *a += b * factor;
        self.positive_buckets.iter_mut().zip(&other.positive_buckets).for_each(add);
        self.negative_buckets.iter_mut().zip(&other.negative_buckets).for_each(add);
        Ok(Reconciled { reset_collision, custom_bounds: false })
    }

    /// Whether counts can be added bucket by bucket: same buckets, and none that the zero bucket covers.
    fn same_layout(&self, o: &FloatHistogram) -> bool {
        let covered = |spans: &[Span]| {
            spans.first().is_some_and(|s| exponential_bound(s.offset, self.schema) <= self.zero_threshold)
        };
        let zero_covers =
            self.zero_threshold > 0.0 && (covered(&self.positive_spans) || covered(&self.negative_spans));
        !zero_covers
            && self.schema == o.schema
            && self.zero_threshold == o.zero_threshold
            && self.positive_spans == o.positive_spans
            && self.negative_spans == o.negative_spans
            && self.custom_values == o.custom_values
    }

    /// Multiplies every count and the sum. A negative factor makes it a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.each_number(|x| *x *= factor);
        if factor < 0.0 {
            self.reset_hint = CounterResetHint::Gauge;
        }
    }

    /// Divides every count and the sum. Division by zero also removes all buckets; a negative divisor makes it a
    /// gauge.
    pub fn div(&mut self, divisor: f64) {
        self.each_number(|x| *x /= divisor);
        if divisor == 0.0 {
            self.positive_spans.clear();
            self.positive_buckets.clear();
            self.negative_spans.clear();
            self.negative_buckets.clear();
        } else if divisor < 0.0 {
            self.reset_hint = CounterResetHint::Gauge;
        }
    }

    fn each_number(&mut self, mut f: impl FnMut(&mut f64)) {
        if !self.uses_custom_buckets() {
            f(&mut self.zero_count); // custom buckets have none: it stays zero whatever the factor
        }
        [&mut self.count, &mut self.sum].into_iter().for_each(&mut f);
        self.positive_buckets.iter_mut().chain(&mut self.negative_buckets).for_each(f);
    }

    /// Removes empty buckets and joins adjacent spans.
    pub fn compact(&mut self) {
        let untouched = |spans: &[Span], buckets: &[f64]| {
            buckets.iter().all(|c| *c != 0.0)
                && spans.iter().enumerate().all(|(i, s)| s.length > 0 && (i == 0 || s.offset > 0))
        };
        if !untouched(&self.positive_spans, &self.positive_buckets) {
            let pairs: Vec<_> = self.positive().filter(|(_, c)| *c != 0.0).collect();
            (self.positive_spans, self.positive_buckets) = from_pairs(pairs.into_iter());
        }
        if !untouched(&self.negative_spans, &self.negative_buckets) {
            let pairs: Vec<_> = self.negative().filter(|(_, c)| *c != 0.0).collect();
            (self.negative_spans, self.negative_buckets) = from_pairs(pairs.into_iter());
        }
    }

    /// Merges buckets until the schema is `schema`. Does nothing for custom buckets or when the schema is that
    /// coarse already.
    pub fn reduce_resolution(&mut self, schema: i32) {
        if self.uses_custom_buckets() || schema >= self.schema {
            return;
        }
        let mut sum = HistogramSum::<f64>::new(self);
        sum.reduce_resolution(schema);
        *self = sum.finish();
    }

    /// Whether any number in it is infinite.
    pub fn has_overflow(&self) -> bool {
        [self.zero_count, self.count, self.sum].iter().any(|x| x.is_infinite())
            || self.positive_buckets.iter().chain(&self.negative_buckets).any(|x| x.is_infinite())
    }

    /// What the zero bucket would hold if it reached to `threshold`, or as far beyond as is needed to cut no
    /// populated bucket; with the threshold that this gives.
    pub fn zero_count_for_threshold(&self, threshold: f64) -> (f64, f64) {
        let positive: Vec<_> = self.positive().collect();
        let negative: Vec<_> = self.negative().collect();
        let widened = widened_threshold(self.schema, threshold, &positive, &negative);
        let inside = |(i, _): &&(i32, f64)| exponential_bound(*i - 1, self.schema) < widened;
        let mut count = Kahan::new(self.zero_count);
        for (_, c) in positive.iter().take_while(inside).chain(negative.iter().take_while(inside)) {
            count.add(*c);
        }
        (count.value(), widened)
    }

    /// Whether both describe the same data: same schema, bounds, buckets (also empty ones) and numbers to the
    /// bit. How the buckets are cut into spans and the reset hint take no part.
    pub fn same_data(&self, o: &FloatHistogram) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        self.schema == o.schema
            && same(self.count, o.count)
            && same(self.sum, o.sum)
            && self.zero_threshold == o.zero_threshold
            && same(self.zero_count, o.zero_count)
            && self.custom_values == o.custom_values
            && super::bits_eq(&self.positive_buckets, &o.positive_buckets)
            && super::bits_eq(&self.negative_buckets, &o.negative_buckets)
            && indexes(&self.positive_spans).eq(indexes(&o.positive_spans))
            && indexes(&self.negative_spans).eq(indexes(&o.negative_spans))
    }
}
