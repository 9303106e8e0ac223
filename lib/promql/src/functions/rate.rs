//! `rate`, `increase` and `delta`: the difference over a range, extrapolated to its edges.
//!
//! The difference between the last and the first sample, plus what was lost at counter resets, is scaled up as if
//! the series went on evenly to the edges of the range: all the way when the edge is within 1.1 sample distances,
//! else by half a distance; a counter never below zero. A first sample whose start timestamp lies inside the range
//! makes this exact on the left: the counter was zero then. Source: Prometheus' `extrapolatedRate`.

use std::sync::Arc;

use cairn_model::{CounterResetHint, FloatHistogram, TimestampMs};

use super::range_fn::RangeFn;
use super::window::{Output, RangeContext, Samples, StepResult, Window};
use crate::annotations::{HistogramOp, Note};

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateKind {
    /// Falling values are resets.
    pub counter: bool,
    /// Divided by the range.
    pub per_second: bool,
}

impl RateKind {
    /// The kind of `func`, if it is one of the three.
    pub fn of(func: RangeFn) -> Option<Self> {
        match func {
            RangeFn::Rate => Some(RateKind { counter: true, per_second: true }),
            RangeFn::Increase => Some(RateKind { counter: true, per_second: false }),
            RangeFn::Delta => Some(RateKind { counter: false, per_second: false }),
            _ => None,
        }
    }
}

/// The edges of a range and its length, as extrapolation needs them.
#[derive(Debug, Clone, Copy)]
pub struct RangeEdges {
    /// Start of the range, outside.
    pub start_ms: TimestampMs,
    /// End of the range, inside.
    pub end_ms: TimestampMs,
    /// Length in seconds.
    pub range_s: f64,
}

/// The first and last sample of a range, and how far a counter got.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Time of the first sample.
    pub first_ms: TimestampMs,
    /// Time of the last sample.
    pub last_ms: TimestampMs,
    /// Samples less one.
    pub gaps: usize,
    /// First value of the counter.
    pub first_value: f64,
    /// Its increase.
    pub increase: f64,
}

/// How far the samples of a range reach, and what follows from that alone. Where samples come regularly it is the same
/// from window to window, so a sliding rate computes it once for many output points.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// From the first to the last sample, milliseconds.
    sampled: f64,
    /// How far the line is carried on before the first sample.
    to_start: f64,
    /// How far behind the last one.
    to_end: f64,
    /// The factor of a difference, unless the counter would be carried below zero.
    factor: f64,
}

impl Reach {
    /// Of a range whose first sample lies `before_ms` behind its start. There are two samples at least.
    ///
    /// Lengths are in milliseconds and compared by products, to save divisions.
    #[inline]
    pub fn of(
        kind: RateKind,
        range_ms: i64,
        range_s: f64,
        before_ms: i64,
        sampled_ms: i64,
        gaps: usize,
    ) -> Self {
        let sampled = sampled_ms as f64;
        let edge = |distance: f64| {
            if is_far(distance, sampled, gaps) { half_gap(sampled, gaps) } else { distance }
        };
        let to_start = edge(before_ms as f64);
        let to_end = edge((range_ms - before_ms - sampled_ms) as f64);
        let factor = scale(kind, range_s, sampled, to_start + to_end);
        Reach { sampled, to_start, to_end, factor }
    }

    /// The factor that carries the difference `increase` to the edges of the range; for a rate also per second.
    #[inline]
    pub fn factor(&self, kind: RateKind, range_s: f64, first_value: f64, increase: f64) -> f64 {
        // A counter that rose evenly was zero `sampled * first / increase` before its first sample.
        let from_zero = self.sampled * first_value;
        if kind.counter && increase > 0.0 && first_value >= 0.0 && from_zero < self.to_start * increase {
            return scale(kind, range_s, self.sampled, from_zero / increase + self.to_end);
        }
        self.factor
    }
}

/// The factor that carries a difference to the edges of its range; for a rate also per second. There are two
/// samples at least.
#[inline]
pub fn extrapolation_factor(kind: RateKind, edges: RangeEdges, e: Extent) -> f64 {
    let (before_ms, sampled_ms) = (e.first_ms - edges.start_ms, e.last_ms - e.first_ms);
    let reach = Reach::of(kind, edges.end_ms - edges.start_ms, edges.range_s, before_ms, sampled_ms, e.gaps);
    reach.factor(kind, edges.range_s, e.first_value, e.increase)
}

/// The factor when the counter is known to have been zero at `zero_ms`, inside the range.
fn factor_from_zero(kind: RateKind, edges: RangeEdges, e: Extent, zero_ms: TimestampMs) -> f64 {
    let to_end = to_end(edges, e, (e.last_ms - e.first_ms) as f64);
    scale(kind, edges.range_s, (e.last_ms - zero_ms) as f64, to_end)
}

/// How far the line is carried on behind the last sample.
#[inline]
fn to_end(edges: RangeEdges, e: Extent, sampled: f64) -> f64 {
    let to_end = (edges.end_ms - e.last_ms) as f64;
    if is_far(to_end, sampled, e.gaps) { half_gap(sampled, e.gaps) } else { to_end }
}

/// Whether an edge is 1.1 mean gaps away or more.
#[inline]
fn is_far(distance: f64, sampled: f64, gaps: usize) -> bool {
    distance * gaps as f64 >= sampled * 1.1
}

/// Half the mean gap between samples; nothing when there is one sample.
fn half_gap(sampled: f64, gaps: usize) -> f64 {
    if gaps == 0 { 0.0 } else { sampled / gaps as f64 / 2.0 }
}

#[inline]
fn scale(kind: RateKind, range_s: f64, sampled: f64, beyond: f64) -> f64 {
    let factor = if sampled == 0.0 { 1.0 } else { (sampled + beyond) / sampled };
    if kind.per_second { factor / range_s } else { factor }
}

/// Whether the start timestamps say that the counter was reset between two samples.
pub fn start_says_reset(previous: (TimestampMs, TimestampMs), current: (TimestampMs, TimestampMs)) -> bool {
    let ((previous_start, previous_t), (start, t)) = (previous, current);
    if start == 0 || start >= t || start < previous_t {
        return false; // unknown, nonsense, or older than the previous sample
    }
    if start > previous_t {
        return true;
    }
    // It began at the previous sample: a delta series, or a cumulative one whose start was never known.
    previous_start != 0 && previous_start < previous_t
}

/// Whether a start timestamp contradicts the sample before.
pub fn start_overlaps(previous: (TimestampMs, TimestampMs), start: TimestampMs) -> bool {
    start != 0 && start < previous.1 && start != previous.0
}

/// The zero point that the first sample's start timestamp gives, when it lies inside the range.
fn zero_inside<T>(s: &Samples<'_, T>, edges: RangeEdges) -> Option<TimestampMs> {
    let start = s.start(0);
    (start != 0 && start > edges.start_ms && start < s.t_ms[0]).then_some(start)
}

/// The function at one step.
pub fn extrapolated(window: Window<'_>, kind: RateKind, ctx: &mut RangeContext<'_>) -> StepResult {
    if window.is_mixed() {
        ctx.note(Note::MixedFloatsHistograms);
        return Ok(None);
    }
    let edges = RangeEdges { start_ms: ctx.start_ms, end_ms: ctx.end_ms, range_s: ctx.range_s() };
    Ok(if !window.histograms.is_empty() {
        histograms(window.histograms, kind, edges, ctx).map(Output::histogram)
    } else if !window.floats.is_empty() {
        floats(window.floats, kind, edges, ctx).map(Output::Float)
    } else {
        None
    })
}

fn floats(s: Samples<'_, f64>, kind: RateKind, edges: RangeEdges, ctx: &mut RangeContext<'_>) -> Option<f64> {
    let last = s.len() - 1;
    let mut increase = s.value[last] - s.value[0];
    if kind.counter {
        note_overlap(&s, ctx);
        for i in 1..=last {
            if s.value[i] < s.value[i - 1] || resets_at(&s, i) {
                increase += s.value[i - 1];
            }
        }
    }
    let extent =
        Extent { first_ms: s.t_ms[0], last_ms: s.t_ms[last], gaps: last, first_value: s.value[0], increase };
    if kind.counter
        && let Some(zero) = zero_inside(&s, edges)
    {
        return Some((increase + s.value[0]) * factor_from_zero(kind, edges, extent, zero));
    }
    (last > 0).then(|| increase * extrapolation_factor(kind, edges, extent))
}

fn resets_at<T>(s: &Samples<'_, T>, i: usize) -> bool {
    !s.start_ms.is_empty() && start_says_reset((s.start(i - 1), s.t_ms[i - 1]), (s.start(i), s.t_ms[i]))
}

fn note_overlap<T>(s: &Samples<'_, T>, ctx: &mut RangeContext<'_>) {
    let overlaps = |i: usize| start_overlaps((s.start(i - 1), s.t_ms[i - 1]), s.start(i));
    if !s.start_ms.is_empty() && (1..s.len()).any(overlaps) {
        ctx.note(Note::StartTimeOverlap);
    }
}

fn histograms(
    s: Samples<'_, Arc<FloatHistogram>>,
    kind: RateKind,
    edges: RangeEdges,
    ctx: &mut RangeContext<'_>,
) -> Option<FloatHistogram> {
    let last = s.len() - 1;
    let increase = if last > 0 { Some(histogram_increase(s, kind, ctx)?) } else { None };
    let extent = Extent {
        first_ms: s.t_ms[0],
        last_ms: s.t_ms[last],
        gaps: last,
        first_value: s.value[0].count,
        increase: increase.as_ref().map_or(0.0, |h| h.count),
    };
    if kind.counter
        && let Some(zero) = zero_inside(&s, edges)
    {
        let mut total = match increase {
            None => (*s.value[0]).clone(),
            Some(mut h) => {
                add(&mut h, &s.value[0], ctx)?;
                h
            }
        };
        total.mul(factor_from_zero(kind, edges, extent, zero));
        return Some(total);
    }
    let mut increase = increase?;
    increase.mul(extrapolation_factor(kind, edges, extent));
    Some(increase)
}

/// Last less first plus what was lost at resets; `None` when exponential and custom buckets are mixed.
fn histogram_increase(
    s: Samples<'_, Arc<FloatHistogram>>,
    kind: RateKind,
    ctx: &mut RangeContext<'_>,
) -> Option<FloatHistogram> {
    let (first, last) = (&s.value[0], &s.value[s.len() - 1]);
    let is_gauge = |h: &FloatHistogram| h.reset_hint == CounterResetHint::Gauge;
    // A first sample right before a reset takes no part, whatever its layout.
    let first_is_void = kind.counter && (resets_at(&s, 1) || s.value[1].detect_reset(first));
    let void = FloatHistogram {
        schema: s.value[1].schema,
        custom_values: s.value[1].custom_values.clone(),
        ..FloatHistogram::default()
    };
    let base = if first_is_void { &void } else { &**first };
    let custom = base.uses_custom_buckets();
    let between = if kind.counter { &s.value[1..s.len() - 1] } else { &[] };
    let other_kind = |h: &FloatHistogram| h.uses_custom_buckets() != custom;
    let gauge_at_edge = kind.counter && (is_gauge(first) || is_gauge(last));
    if other_kind(last) || between.iter().any(|h| other_kind(h)) {
        if gauge_at_edge && other_kind(last) {
            ctx.note(Note::NotCounterHistogram);
        }
        ctx.note(Note::MixedExponentialCustom);
        return None;
    }
    if gauge_at_edge || between.iter().any(|h| is_gauge(h)) {
        ctx.note(Note::NotCounterHistogram);
    }
    let schema = between.iter().map(|h| h.schema).chain([base.schema, last.schema]).min()?;
    let mut total = (**last).clone();
    total.reset_hint = CounterResetHint::Gauge; // contradicting hints are nothing to tell of here
    total.reduce_resolution(schema);
    sub(&mut total, base, ctx)?;
    if kind.counter {
        note_overlap(&s, ctx);
        let mut previous = base;
        for i in 1..s.len() {
            if resets_at(&s, i) || s.value[i].detect_reset(previous) {
                add(&mut total, previous, ctx)?;
            }
            previous = &s.value[i];
        }
    } else if !is_gauge(first) || !is_gauge(last) {
        ctx.note(Note::NotGaugeHistogram);
    }
    total.reset_hint = CounterResetHint::Gauge;
    total.compact();
    Some(total)
}

/// Adds `h`, telling of what it took; `None` when the schemas cannot be added.
pub(super) fn add(to: &mut FloatHistogram, h: &FloatHistogram, ctx: &mut RangeContext<'_>) -> Option<()> {
    let done = to.add(h);
    tell(done, HistogramOp::Addition, ctx)
}

/// Subtracts `h`, telling of what it took; `None` when the schemas cannot be subtracted.
pub(super) fn sub(from: &mut FloatHistogram, h: &FloatHistogram, ctx: &mut RangeContext<'_>) -> Option<()> {
    let done = from.sub(h);
    tell(done, HistogramOp::Subtraction, ctx)
}

fn tell(
    done: Result<cairn_model::histogram::Reconciled, cairn_model::histogram::IncompatibleSchemas>,
    op: HistogramOp,
    ctx: &mut RangeContext<'_>,
) -> Option<()> {
    match done {
        Ok(reconciled) => {
            if reconciled.custom_bounds {
                ctx.note_unnamed(Note::MismatchedCustomBuckets(op));
            }
            Some(())
        }
        Err(_) => {
            ctx.note(Note::MixedExponentialCustom);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotations::Annotations;
    use crate::engine::plan::Edges;
    use crate::parser::ast::Span;

    fn rate_of(samples: &[(i64, f64)], starts: &[i64], range: (i64, i64), func: RangeFn) -> Option<f64> {
        let t_ms: Vec<_> = samples.iter().map(|s| s.0).collect();
        let value: Vec<_> = samples.iter().map(|s| s.1).collect();
        let mut notes = Annotations::default();
        let mut ctx = RangeContext {
            eval_ms: range.1,
            start_ms: range.0,
            end_ms: range.1,
            range_ms: range.1 - range.0,
            edges: Edges::Plain,
            params: &[],
            metric: "m",
            span: Span::default(),
            notes: &mut notes,
        };
        let window = Window {
            floats: Samples { t_ms: &t_ms, value: &value, start_ms: starts },
            histograms: Samples { t_ms: &[], value: &[], start_ms: &[] },
        };
        match extrapolated(window, RateKind::of(func).unwrap(), &mut ctx).unwrap() {
            Some(Output::Float(v)) => Some(v),
            _ => None,
        }
    }

    #[test]
    fn differences_are_carried_to_the_edges() {
        let samples = [(10_000, 100.0), (20_000, 110.0), (30_000, 120.0)];
        // 20 in 20 s, both edges 5 s away: 30 s in all.
        assert_eq!(rate_of(&samples, &[], (5_000, 35_000), RangeFn::Increase), Some(30.0));
        assert_eq!(rate_of(&samples, &[], (5_000, 35_000), RangeFn::Rate), Some(1.0));
        // Far edges: half a sample distance on either side.
        assert_eq!(rate_of(&samples, &[], (-60_000, 90_000), RangeFn::Delta), Some(30.0));
    }

    #[test]
    fn a_counter_is_not_carried_below_zero() {
        let samples = [(10_000, 2.0), (20_000, 12.0)];
        // Zero was 2 s before the first sample.
        assert_eq!(rate_of(&samples, &[], (0, 20_000), RangeFn::Increase), Some(12.0));
        assert_eq!(rate_of(&samples, &[], (0, 20_000), RangeFn::Delta), Some(20.0));
    }

    #[test]
    fn resets_are_made_good() {
        let samples = [(10_000, 100.0), (20_000, 5.0), (30_000, 15.0)];
        assert_eq!(rate_of(&samples, &[], (10_000, 30_000), RangeFn::Increase), Some(15.0));
    }

    #[test]
    fn a_start_inside_the_range_is_the_zero_point() {
        assert_eq!(rate_of(&[(10_000, 7.0)], &[4_000], (0, 10_000), RangeFn::Increase), Some(7.0));
        assert_eq!(rate_of(&[(10_000, 7.0)], &[], (0, 10_000), RangeFn::Increase), None);
        assert_eq!(rate_of(&[(10_000, 7.0)], &[0], (0, 10_000), RangeFn::Increase), None);
        // Rising values, but the second sample was counted from anew.
        let samples = [(10_000, 7.0), (20_000, 8.0)];
        assert_eq!(rate_of(&samples, &[1_000, 15_000], (0, 20_000), RangeFn::Increase), Some(15.0));
    }

    #[test]
    fn start_timestamps_tell_resets() {
        assert!(start_says_reset((5, 10), (12, 20)));
        assert!(start_says_reset((5, 10), (10, 20)), "delta series");
        assert!(!start_says_reset((0, 10), (10, 20)), "unknown start");
        assert!(!start_says_reset((10, 10), (10, 20)), "unknown start, as OTel writes it");
        assert!(!start_says_reset((5, 10), (5, 20)));
        assert!(!start_says_reset((5, 10), (25, 20)), "after the sample");
    }
}
