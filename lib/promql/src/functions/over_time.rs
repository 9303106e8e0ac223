//! The `*_over_time` functions at one step.
//!
//! [`super::sliding`] computes the common ones for floats without looking at every sample at every step; what is
//! here defines the results and serves everything else.

use cairn_model::TimestampMs;
use cairn_model::kahan::Kahan;

use super::histogram_over_time;
use super::quantile::quantile;
use super::range_fn::RangeFn;
use super::window::{Output, RangeContext, Samples, StepResult, Window};
use crate::annotations::Note;

/// The function at one step; the window is not empty.
pub fn over_time(func: RangeFn, window: Window<'_>, ctx: &mut RangeContext<'_>) -> StepResult {
    use RangeFn::*;
    let float = |v: f64| Ok(Some(Output::Float(v)));
    match func {
        CountOverTime => float(window.len() as f64),
        PresentOverTime => float(1.0),
        FirstOverTime => Ok(first_or_last(&window, true)),
        LastOverTime => Ok(first_or_last(&window, false)),
        TsOfFirstOverTime => {
            let first = [window.floats.t_ms.first(), window.histograms.t_ms.first()];
            float(first.into_iter().flatten().min().map_or(0.0, |t| seconds(*t)))
        }
        TsOfLastOverTime => {
            let last = [window.floats.t_ms.last(), window.histograms.t_ms.last()];
            float(last.into_iter().flatten().max().map_or(0.0, |t| seconds(*t)))
        }
        SumOverTime | AvgOverTime => {
            if window.is_mixed() {
                ctx.note(Note::MixedFloatsHistograms);
                Ok(None)
            } else if window.floats.is_empty() {
                let mean = func == AvgOverTime;
                Ok(histogram_over_time::sum_or_mean(window.histograms, mean, ctx).map(Output::histogram))
            } else if func == SumOverTime {
                float(sum(window.floats.value))
            } else {
                float(mean(window.floats.value))
            }
        }
        QuantileOverTime if !window.floats.is_empty() => {
            let q = ctx.params[0];
            if !(0.0..=1.0).contains(&q) {
                ctx.note_unnamed(Note::InvalidQuantile { q_bits: q.to_bits() });
            }
            floats_only(&window, ctx, |s| quantile(q, &mut s.value.to_vec()))
        }
        MinOverTime => floats_only(&window, ctx, |s| extreme(s, |v, kept| v < kept).0),
        MaxOverTime => floats_only(&window, ctx, |s| extreme(s, |v, kept| v > kept).0),
        TsOfMinOverTime => floats_only(&window, ctx, |s| seconds(extreme(s, |v, kept| v <= kept).1)),
        TsOfMaxOverTime => floats_only(&window, ctx, |s| seconds(extreme(s, |v, kept| v >= kept).1)),
        StdvarOverTime => floats_only(&window, ctx, |s| variance(s.value)),
        StddevOverTime => floats_only(&window, ctx, |s| variance(s.value).sqrt()),
        MadOverTime => floats_only(&window, ctx, |s| median_deviation(s.value)),
        _ => Ok(None),
    }
}

/// A function of floats; tells of histograms that it leaves out.
fn floats_only(
    window: &Window<'_>,
    ctx: &mut RangeContext<'_>,
    f: impl Fn(Samples<'_, f64>) -> f64,
) -> StepResult {
    if window.floats.is_empty() {
        return Ok(None);
    }
    if !window.histograms.is_empty() {
        ctx.note(Note::HistogramIgnoredInMixedRange);
    }
    Ok(Some(Output::Float(f(window.floats))))
}

fn seconds(t_ms: TimestampMs) -> f64 {
    t_ms as f64 / 1000.0
}

fn first_or_last(w: &Window<'_>, first: bool) -> Option<Output> {
    let index = |len: usize| if first { (len > 0).then_some(0) } else { len.checked_sub(1) };
    let (f, h) = (index(w.floats.len()), index(w.histograms.len()));
    let take_float = match (f, h) {
        (Some(f), Some(h)) if first => w.floats.t_ms[f] < w.histograms.t_ms[h],
        (Some(f), Some(h)) => w.floats.t_ms[f] > w.histograms.t_ms[h],
        (f, _) => f.is_some(),
    };
    if take_float {
        f.map(|i| Output::Float(w.floats.value[i]))
    } else {
        h.map(|i| Output::Histogram(w.histograms.value[i].clone()))
    }
}

/// The sum, as exact as it gets.
pub fn sum(values: &[f64]) -> f64 {
    let mut k = Kahan::default();
    values.iter().for_each(|v| k.add(*v));
    k.value()
}

/// A mean under way: the plain sum over the count until that overflows, then an incremental mean.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mean {
    count: f64,
    /// The sum, or once `incremental` the mean.
    total: Kahan,
    incremental: bool,
}

impl Mean {
    /// Adds `v`.
    pub fn add(&mut self, v: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.total = Kahan::new(v);
            return;
        }
        if !self.incremental {
            let mut next = self.total;
            next.add(v);
            if !next.sum.is_infinite() {
                self.total = next;
                return;
            }
            self.incremental = true;
            self.total.sum /= self.count - 1.0;
            self.total.c /= self.count - 1.0;
        }
        let q = (self.count - 1.0) / self.count;
        self.total.sum *= q;
        self.total.c *= q;
        self.total.add(v / self.count);
    }

    /// The mean of what was added.
    pub fn value(self) -> f64 {
        if self.incremental {
            self.total.sum + self.total.c
        } else {
            self.total.sum / self.count + self.total.c / self.count
        }
    }

    /// Joins the means of two parts.
    pub fn merge(&mut self, o: Mean) {
        if o.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = o;
            return;
        }
        let count = self.count + o.count;
        if !self.incremental && !o.incremental {
            let mut next = self.total;
            next.merge(o.total);
            if !next.sum.is_infinite() {
                *self = Mean { count, total: next, incremental: false };
                return;
            }
        }
        let mut total = Kahan::new(self.value() * (self.count / count));
        total.add(o.value() * (o.count / count));
        *self = Mean { count, total, incremental: true };
    }
}

/// The mean, as exact as it gets and without overflow.
pub fn mean(values: &[f64]) -> f64 {
    let mut m = Mean::default();
    values.iter().for_each(|v| m.add(*v));
    m.value()
}

/// The population variance (Welford's method).
pub fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares, mut count) = (Kahan::default(), Kahan::default(), 0.0);
    for v in values {
        count += 1.0;
        let delta = v - (mean.sum + mean.c);
        mean.add(delta / count);
        squares.add(delta * (v - (mean.sum + mean.c)));
    }
    (squares.sum + squares.c) / count
}

/// The value, and its time, that no other `beats`; NaN loses to everything.
fn extreme(s: Samples<'_, f64>, beats: impl Fn(f64, f64) -> bool) -> (f64, TimestampMs) {
    let (mut kept, mut t_ms) = (s.value[0], s.t_ms[0]);
    for (v, t) in s.value.iter().zip(s.t_ms) {
        if beats(*v, kept) || kept.is_nan() {
            (kept, t_ms) = (*v, *t);
        }
    }
    (kept, t_ms)
}

/// The median of the distances from the median; NaN when any value is.
fn median_deviation(values: &[f64]) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let mut values = values.to_vec();
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    quantile(0.5, &mut values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_do_not_overflow() {
        assert!((mean(&[f64::MAX, f64::MAX, f64::MAX]) / f64::MAX - 1.0).abs() < 1e-15);
        assert_eq!(mean(&[1.0, 2.0, 3.0]), 2.0);
        let (mut a, mut b) = (Mean::default(), Mean::default());
        [f64::MAX, f64::MAX].iter().for_each(|v| a.add(*v));
        [f64::MAX, f64::MAX].iter().for_each(|v| b.add(*v));
        a.merge(b);
        assert!((a.value() / f64::MAX - 1.0).abs() < 1e-15);
    }

    #[test]
    fn variance_is_of_the_population() {
        assert_eq!(variance(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 4.0);
        assert_eq!(median_deviation(&[1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0]), 1.0);
    }
}
