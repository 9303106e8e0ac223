//! The running aggregate of one group at all steps.
//!
//! Columns of the group's series are added one after another; parts that were computed on different threads are
//! merged; [`Accumulator::finish`] gives the group's column. Sums and means do not lose precision to the order in
//! which series come.
//!
//! This is a hot file: adding a column of floats does not allocate.

use cairn_model::Labels;
use cairn_model::kahan::Kahan;

use super::super::column::{ABSENT, Column, Histogram, Point, is_absent};
use super::ScalarColumn;
use crate::annotations::{Annotations, HistogramOp, Note};
use crate::functions::histogram_over_time::HistogramMean;
use crate::functions::over_time::Mean;
use crate::functions::quantile::quantile;
use crate::parser::ast::{AggregateOp, Span};

/// What the members of a group add up to, step by step.
pub struct Accumulator {
    op: AggregateOp,
    floats: Floats,
    /// Floats seen (for `count` and `group`: samples of either kind).
    count: Vec<u32>,
    /// Empty until a histogram is added to a sum or mean.
    histograms: Vec<HistogramState>,
    /// Whether a member's name is to go.
    pub drop_name: bool,
}

enum Floats {
    /// `count` and `group` need no values.
    None,
    /// `sum`
    Sum { sum: Vec<f64>, c: Vec<f64> },
    /// `avg`
    Mean(Vec<Mean>),
    /// `min` and `max`
    Extreme(Vec<f64>),
    /// `stddev` and `stdvar`: mean and sum of squared distances.
    Variance(Vec<(f64, f64)>),
    /// `quantile`
    Values(Vec<Vec<f64>>),
}

#[derive(Clone, Default)]
enum HistogramState {
    #[default]
    None,
    /// There were histograms, but floats came first: the step has no result.
    AfterFloats,
    Some(Box<HistogramMean>),
    /// Exponential and custom buckets were mixed: the step has no result.
    Incompatible,
}

/// Where an aggregation's annotations belong.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The aggregated expression.
    pub span: Span,
    /// Labels of the series that is being added, for the metric's name if it still has one.
    pub series: Option<&'a Labels>,
}

impl Accumulator {
    /// Nothing added yet, at `steps` steps.
    pub fn new(op: AggregateOp, steps: usize) -> Self {
        use AggregateOp::*;
        let floats = match op {
            Sum => Floats::Sum { sum: vec![0.0; steps], c: vec![0.0; steps] },
            Avg => Floats::Mean(vec![Mean::default(); steps]),
            Min | Max => Floats::Extreme(vec![ABSENT; steps]),
            Stddev | Stdvar => Floats::Variance(vec![(0.0, 0.0); steps]),
            Quantile => Floats::Values(vec![Vec::new(); steps]),
            _ => Floats::None,
        };
        Accumulator { op, floats, count: vec![0; steps], histograms: Vec::new(), drop_name: false }
    }

    /// What it occupies, in floats.
    pub fn cells(&self) -> usize {
        match &self.floats {
            Floats::Values(v) => v.iter().map(Vec::len).sum(),
            _ => self.count.len() * 3,
        }
    }

    /// Adds one member.
    pub fn add(&mut self, column: &Column, place: Place<'_>, notes: &mut Annotations) {
        if !column.histograms.is_empty() || !self.histograms.is_empty() {
            return self.add_mixed(column, place, notes);
        }
        let steps = column.first..column.end();
        let counts = &mut self.count[steps.clone()];
        match &mut self.floats {
            Floats::Sum { sum, c } => {
                let (sum, c) = (&mut sum[steps.clone()], &mut c[steps]);
                add_sums(sum, c, counts, &column.floats);
            }
            Floats::None => {
                for (n, v) in counts.iter_mut().zip(&column.floats) {
                    *n += u32::from(!is_absent(*v));
                }
            }
            _ => {
                for (i, v) in column.floats.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                    self.add_float(column.first + i, *v);
                }
            }
        }
    }

    #[inline]
    fn add_float(&mut self, k: usize, v: f64) {
        self.count[k] += 1;
        match &mut self.floats {
            Floats::None => {}
            Floats::Sum { sum, c } => {
                let mut total = Kahan { sum: sum[k], c: c[k] };
                total.add(v);
                (sum[k], c[k]) = (total.sum, total.c);
            }
            Floats::Mean(means) => means[k].add(v),
            Floats::Extreme(kept) => {
                if is_absent(kept[k]) || kept[k].is_nan() || beats(self.op, v, kept[k]) {
                    kept[k] = v;
                }
            }
            Floats::Variance(state) => {
                let (mean, squares) = &mut state[k];
                if self.count[k] == 1 {
                    (*mean, *squares) = (v, if v.is_finite() { 0.0 } else { f64::NAN });
                } else {
                    let delta = v - *mean;
                    *mean += delta / f64::from(self.count[k]);
                    *squares += delta * (v - *mean);
                }
            }
            Floats::Values(values) => values[k].push(v),
        }
    }

    fn add_mixed(&mut self, column: &Column, place: Place<'_>, notes: &mut Annotations) {
        for (k, point) in column.points() {
            match point {
                // A step that has no result any more takes no more samples.
                Point::Float(_) if matches!(self.histograms.get(k), Some(HistogramState::Incompatible)) => {}
                Point::Float(v) => self.add_float(k, v),
                Point::Histogram(h) => self.add_histogram(k, h, place, notes),
            }
        }
    }

    fn add_histogram(&mut self, k: usize, h: &Histogram, place: Place<'_>, notes: &mut Annotations) {
        use AggregateOp::*;
        match self.op {
            Count | Group => self.count[k] += 1,
            Sum | Avg => {
                if self.histograms.is_empty() {
                    self.histograms.resize(self.count.len(), HistogramState::None);
                }
                let state = &mut self.histograms[k];
                match state {
                    HistogramState::None if self.count[k] > 0 => *state = HistogramState::AfterFloats,
                    HistogramState::None => *state = HistogramState::Some(Box::new(HistogramMean::new(h))),
                    HistogramState::Some(total) => {
                        let done = if self.op == Sum { total.add_to_sum(h) } else { total.add_to_mean(h) };
                        if tell(done, place, notes).is_none() {
                            *state = HistogramState::Incompatible;
                        }
                    }
                    HistogramState::AfterFloats | HistogramState::Incompatible => {}
                }
            }
            op => notes.add(Note::HistogramIgnoredInAggregation(op.as_str()), place.span),
        }
    }

    /// Adds the members of another part of the same group.
    pub fn merge(&mut self, other: Accumulator, place: Place<'_>, notes: &mut Annotations) {
        self.drop_name |= other.drop_name;
        match (&mut self.floats, other.floats) {
            (Floats::Sum { sum, c }, Floats::Sum { sum: sum2, c: c2 }) => {
                for k in 0..sum.len() {
                    let mut total = Kahan { sum: sum[k], c: c[k] };
                    total.merge(Kahan { sum: sum2[k], c: c2[k] });
                    (sum[k], c[k]) = (total.sum, total.c);
                }
            }
            (Floats::Mean(a), Floats::Mean(b)) => a.iter_mut().zip(b).for_each(|(a, b)| a.merge(b)),
            (Floats::Extreme(a), Floats::Extreme(b)) => {
                for (kept, v) in a.iter_mut().zip(b).filter(|(_, v)| !is_absent(*v)) {
                    if is_absent(*kept) || kept.is_nan() || beats(self.op, v, *kept) {
                        *kept = v;
                    }
                }
            }
            (Floats::Variance(a), Floats::Variance(b)) => {
                for (k, (mean, squares)) in b.into_iter().enumerate() {
                    let (n, m) = (f64::from(self.count[k]), f64::from(other.count[k]));
                    if n == 0.0 {
                        a[k] = (mean, squares);
                    } else if m > 0.0 {
                        let delta = mean - a[k].0;
                        a[k].1 += squares + delta * delta * n * m / (n + m);
                        a[k].0 += delta * m / (n + m);
                    }
                }
            }
            (Floats::Values(a), Floats::Values(b)) => a.iter_mut().zip(b).for_each(|(a, b)| a.extend(b)),
            _ => {}
        }
        self.merge_histograms(other.histograms, place, notes);
        self.count.iter_mut().zip(other.count).for_each(|(a, b)| *a += b);
    }

    fn merge_histograms(&mut self, other: Vec<HistogramState>, place: Place<'_>, notes: &mut Annotations) {
        if self.histograms.is_empty() {
            self.histograms = other;
            return;
        }
        for (mine, theirs) in self.histograms.iter_mut().zip(other) {
            match (&mut *mine, theirs) {
                (HistogramState::None, theirs) => *mine = theirs,
                (HistogramState::Some(a), HistogramState::Some(b)) => {
                    let done = a.merge(&b, self.op == AggregateOp::Avg);
                    if tell(done, place, notes).is_none() {
                        *mine = HistogramState::Incompatible;
                    }
                }
                (
                    HistogramState::Some(_),
                    theirs @ (HistogramState::AfterFloats | HistogramState::Incompatible),
                ) => {
                    *mine = theirs;
                }
                _ => {}
            }
        }
    }

    /// The group's column; `param` is `quantile`'s φ.
    pub fn finish(self, param: &ScalarColumn, span: Span, notes: &mut Annotations) -> Column {
        let mut column = Column::default();
        column.reset(self.count.len());
        let op = self.op;
        let mut floats = self.floats;
        for (k, n) in self.count.iter().enumerate() {
            let state = self.histograms.get(k);
            let has_histogram = state.is_some_and(|s| !matches!(s, HistogramState::None));
            if *n > 0 && has_histogram {
                notes.add(Note::MixedFloatsHistogramsAggregation, span);
            } else if let Some(HistogramState::Some(total)) = state {
                if total.has_collision() {
                    notes.add(Note::ResetCollision(HistogramOp::Aggregation), span);
                }
                let mut h = if op == AggregateOp::Sum { total.sum() } else { total.mean() };
                h.compact();
                column.set_histogram(k, h.into());
            } else if *n > 0 {
                column.floats[k] = finished(&mut floats, op, k, f64::from(*n), param);
            }
        }
        column
    }
}

fn finished(floats: &mut Floats, op: AggregateOp, k: usize, n: f64, param: &ScalarColumn) -> f64 {
    match floats {
        Floats::None if op == AggregateOp::Count => n,
        Floats::None => 1.0,
        Floats::Sum { sum, c } => sum[k] + c[k],
        Floats::Mean(means) => means[k].value(),
        Floats::Extreme(kept) => kept[k],
        Floats::Variance(state) if op == AggregateOp::Stddev => (state[k].1 / n).sqrt(),
        Floats::Variance(state) => state[k].1 / n,
        Floats::Values(values) => quantile(param.at(k), &mut values[k]),
    }
}

/// Kahan sums of a whole column, without a branch in the loop: an absent value adds zero.
#[inline]
fn add_sums(sum: &mut [f64], c: &mut [f64], counts: &mut [u32], values: &[f64]) {
    for (((sum, c), n), v) in sum.iter_mut().zip(c).zip(counts).zip(values) {
        let absent = is_absent(*v);
        let mut total = Kahan { sum: *sum, c: *c };
        total.add(if absent { 0.0 } else { *v });
        (*sum, *c) = (total.sum, total.c);
        *n += u32::from(!absent);
    }
}

fn beats(op: AggregateOp, v: f64, kept: f64) -> bool {
    if op == AggregateOp::Max { v > kept } else { v < kept }
}

fn tell(
    done: Result<cairn_model::histogram::Reconciled, cairn_model::histogram::IncompatibleSchemas>,
    place: Place<'_>,
    notes: &mut Annotations,
) -> Option<()> {
    match done {
        Ok(r) => {
            if r.custom_bounds {
                notes.add(Note::MismatchedCustomBuckets(HistogramOp::Aggregation), place.span);
            }
            Some(())
        }
        Err(_) => {
            let metric = place.series.map_or("", Labels::metric_name);
            notes.add_named(Note::MixedExponentialCustom, metric, place.span);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(op: AggregateOp, parts: &[Vec<f64>]) -> f64 {
        let place = Place { span: Span::default(), series: None };
        let mut notes = Annotations::default();
        let mut whole: Option<Accumulator> = None;
        for part in parts {
            let mut acc = Accumulator::new(op, 1);
            for v in part {
                let column = Column { first: 0, floats: vec![*v], histograms: Vec::new() };
                acc.add(&column, place, &mut notes);
            }
            match &mut whole {
                None => whole = Some(acc),
                Some(w) => w.merge(acc, place, &mut notes),
            }
        }
        let half = ScalarColumn::Constant(0.5);
        whole.map_or(ABSENT, |w| w.finish(&half, Span::default(), &mut notes).floats[0])
    }

    #[test]
    fn infinities_and_absence_stay_what_they_are() {
        assert_eq!(run(AggregateOp::Sum, &[vec![1.0, f64::INFINITY]]), f64::INFINITY);
        assert!(run(AggregateOp::Stddev, &[vec![f64::INFINITY, 1.0]]).is_nan());
        assert!(is_absent(run(AggregateOp::Max, &[vec![]])));
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            values in proptest::collection::vec(prop_oneof![9 => -1e6f64..1e6, 1 => Just(f64::NAN)], 1..30),
            cut in 0usize..30,
        ) {
            let cut = cut.min(values.len());
            let parts = [values[..cut].to_vec(), values[cut..].to_vec()];
            for op in [AggregateOp::Sum, AggregateOp::Avg, AggregateOp::Min, AggregateOp::Max, AggregateOp::Count,
                AggregateOp::Stddev, AggregateOp::Stdvar, AggregateOp::Quantile, AggregateOp::Group] {
                let (whole, joined) = (run(op, std::slice::from_ref(&values)), run(op, &parts));
                prop_assert!(whole == joined || (whole.is_nan() && joined.is_nan())
                    || (whole - joined).abs() <= 1e-9 * whole.abs().max(1.0), "{op}: {whole} {joined}");
            }
        }
    }
}
