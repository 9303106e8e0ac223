//! `rate`, `increase` and `delta` of ranges that are `anchored` or `smoothed`.
//!
//! Nothing is extrapolated: the value at the range's start is that of the last sample at or before it
//! (anchored), or interpolated between the samples around either edge (smoothed); a smoothed counter that was
//! reset between two samples is taken to have risen from zero. The window holds the samples around the range too.

use std::sync::Arc;

use cairn_model::{CounterResetHint, FloatHistogram, TimestampMs};

use super::rate::{RateKind, add, sub};
use super::window::{Output, RangeContext, Samples, StepResult, Window};
use crate::annotations::{Annotations, HistogramOp, Note};
use crate::engine::plan::Edges;
use crate::parser::ast::Span;

/// The function at one step.
pub fn extended(window: Window<'_>, kind: RateKind, ctx: &mut RangeContext<'_>) -> StepResult {
    if window.is_mixed() {
        ctx.note(Note::MixedFloatsHistograms);
        return Ok(None);
    }
    Ok(if !window.histograms.is_empty() {
        histograms(window.histograms, kind, ctx).map(Output::histogram)
    } else if !window.floats.is_empty() {
        floats(window.floats, kind, ctx).map(Output::Float)
    } else {
        None
    })
}

/// The samples that span the range: the last one at or before its start, or the first of all, and the last one,
/// or for smoothed ranges the first at or after its end. `None` when the range has no sample of its own.
fn spanning(t: &[TimestampMs], ctx: &RangeContext<'_>) -> Option<(usize, usize)> {
    let smoothed = ctx.edges == Edges::Smoothed;
    let mut last = t.len() - 1;
    let first = t[..last].partition_point(|t| *t <= ctx.start_ms).saturating_sub(1);
    if smoothed {
        last = t[..last].partition_point(|t| *t < ctx.end_ms);
    }
    if t[last] <= ctx.start_ms || (smoothed && t[first] > ctx.end_ms) {
        return None;
    }
    Some((first, last))
}

/// The value at `t` on the line between two samples. A counter that fell between them rises from zero.
pub fn interpolate(a: (TimestampMs, f64), b: (TimestampMs, f64), t: TimestampMs, counter: bool) -> f64 {
    let from = if counter && b.1 < a.1 { 0.0 } else { a.1 };
    from + (b.1 - from) * (t - a.0) as f64 / (b.0 - a.0) as f64
}

fn floats(s: Samples<'_, f64>, kind: RateKind, ctx: &RangeContext<'_>) -> Option<f64> {
    let (mut first, last) = spanning(s.t_ms, ctx)?;
    let (left, right) = edge_values(&s, (first, last), (ctx.start_ms, ctx.end_ms), ctx.edges, kind.counter);
    let mut result = right - left;
    if kind.counter {
        // Only samples strictly inside: what happened at the edges is in `left` and `right`.
        if s.t_ms[first] <= ctx.start_ms {
            first += 1;
        }
        let end = if s.t_ms[last] >= ctx.end_ms { last } else { last + 1 };
        let mut previous = left;
        for v in s.value.get(first..end).unwrap_or(&[]).iter().chain([&right]) {
            if *v < previous {
                result += previous;
            }
            previous = *v;
        }
    }
    Some(if kind.per_second { result / ctx.range_s() } else { result })
}

fn edge_values(
    s: &Samples<'_, f64>,
    (first, last): (usize, usize),
    (start_ms, end_ms): (TimestampMs, TimestampMs),
    edges: Edges,
    counter: bool,
) -> (f64, f64) {
    let at = |i: usize| (s.t_ms[i], s.value[i]);
    let smoothed = edges == Edges::Smoothed;
    let left = if smoothed && s.t_ms[first] < start_ms {
        interpolate(at(first), at(first + 1), start_ms, counter)
    } else {
        s.value[first]
    };
    let right = if smoothed && last > 0 && s.t_ms[last] > end_ms {
        interpolate(at(last - 1), at(last), end_ms, counter)
    } else {
        s.value[last]
    };
    (left, right)
}

/// The samples of an anchored or smoothed range as a range selector shows them: with a sample at either edge.
pub fn with_edges(
    t_ms: &[TimestampMs],
    value: &[f64],
    (start_ms, end_ms): (TimestampMs, TimestampMs),
    edges: Edges,
) -> Vec<(TimestampMs, f64)> {
    if t_ms.is_empty() {
        return Vec::new();
    }
    let smoothed = edges == Edges::Smoothed;
    let mut last = t_ms.len() - 1;
    let mut first = t_ms[..last].partition_point(|t| *t <= start_ms).saturating_sub(1);
    if smoothed {
        last = t_ms[..last].partition_point(|t| *t < end_ms);
    }
    if t_ms[last] <= start_ms {
        return Vec::new();
    }
    let s = Samples { t_ms, value, start_ms: &[] };
    let (left, right) = edge_values(&s, (first, last), (start_ms, end_ms), edges, false);
    if t_ms[first] <= start_ms {
        first += 1;
    }
    let end = if t_ms[last] >= end_ms { last } else { last + 1 };
    let inside = (first..end.max(first)).map(|i| (t_ms[i], value[i]));
    std::iter::once((start_ms, left)).chain(inside).chain([(end_ms, right)]).collect()
}

/// The histogram at `t` on the line between two samples; tells of what it took. `None` when exponential and
/// custom buckets are mixed.
pub fn interpolate_histogram(
    a: (TimestampMs, &FloatHistogram),
    b: (TimestampMs, &FloatHistogram),
    t: TimestampMs,
    counter: bool,
    place: (&str, Span),
    notes: &mut Annotations,
) -> Option<FloatHistogram> {
    if t == a.0 {
        return Some(a.1.clone());
    }
    if t == b.0 {
        return Some(b.1.clone());
    }
    let fraction = (t - a.0) as f64 / (b.0 - a.0) as f64;
    let mut result = b.1.clone();
    if counter && b.1.detect_reset(a.1) {
        result.mul(fraction);
        return Some(result);
    }
    for op in [HistogramOp::Subtraction, HistogramOp::Addition] {
        let done = match op {
            HistogramOp::Subtraction => result.sub(a.1),
            _ => {
                result.mul(fraction);
                result.add(a.1)
            }
        };
        match done {
            Ok(r) if r.custom_bounds => notes.add(Note::MismatchedCustomBuckets(op), place.1),
            Ok(_) => {}
            Err(_) => {
                notes.add_named(Note::MixedExponentialCustom, place.0, place.1);
                return None;
            }
        }
    }
    Some(result)
}

fn histograms(
    s: Samples<'_, Arc<FloatHistogram>>,
    kind: RateKind,
    ctx: &mut RangeContext<'_>,
) -> Option<FloatHistogram> {
    let (first, last) = spanning(s.t_ms, ctx)?;
    let custom = s.value[first].uses_custom_buckets();
    for h in &s.value[first..=last] {
        if h.uses_custom_buckets() != custom {
            ctx.note(Note::MixedExponentialCustom);
            return None;
        }
        if kind.counter && h.reset_hint == CounterResetHint::Gauge {
            ctx.note(Note::NotCounterHistogram);
        }
    }
    let smoothed = ctx.edges == Edges::Smoothed;
    let at = |i: usize| (s.t_ms[i], &*s.value[i]);
    let place = (ctx.metric, ctx.span);
    let left = if smoothed && s.t_ms[first] < ctx.start_ms {
        interpolate_histogram(at(first), at(first + 1), ctx.start_ms, kind.counter, place, ctx.notes)?
    } else {
        (*s.value[first]).clone()
    };
    let right = if smoothed && last > 0 && s.t_ms[last] > ctx.end_ms {
        interpolate_histogram(at(last - 1), at(last), ctx.end_ms, kind.counter, place, ctx.notes)?
    } else {
        (*s.value[last]).clone()
    };
    let both_gauges = [&left, &right].iter().all(|h| h.reset_hint == CounterResetHint::Gauge);
    if !kind.counter && !both_gauges {
        ctx.note(Note::NotGaugeHistogram);
    }
    let mut result = right.clone();
    result.reset_hint = CounterResetHint::Gauge; // contradicting hints are nothing to tell of here
    sub(&mut result, &left, ctx)?;
    if kind.counter {
        let left_has_reset = smoothed
            && s.t_ms[first] < ctx.start_ms
            && s.value.get(first + 1).is_some_and(|h| h.detect_reset(&s.value[first]));
        let lost = lost_at_resets(&s, (first, last), left_has_reset, &left, &right, ctx)?;
        if let Some(lost) = lost {
            add(&mut result, &lost, ctx)?;
        }
    }
    if kind.per_second {
        result.div(ctx.range_s());
    }
    result.reset_hint = CounterResetHint::Gauge;
    result.compact();
    Some(result)
}

/// What the resets strictly between the edges have lost; the outer `None` is a failure that was told.
///
/// The first and last sample are stood for by `left` and `right`. When `left` was itself interpolated across a
/// reset, that reset is in it already and the next sample is where comparing begins.
fn lost_at_resets(
    s: &Samples<'_, Arc<FloatHistogram>>,
    (first, last): (usize, usize),
    left_has_reset: bool,
    left: &FloatHistogram,
    right: &FloatHistogram,
    ctx: &mut RangeContext<'_>,
) -> Option<Option<FloatHistogram>> {
    let (mut previous, mut from) = (left, first + 1);
    if left_has_reset {
        previous = &s.value[first + 1];
        from += 1;
    }
    if from > last {
        return Some(None); // both edges lie between the same two samples
    }
    let mut lost: Option<FloatHistogram> = None;
    let between = s.value[from..last].iter().map(|h| &**h);
    for h in between.chain([right]) {
        if h.detect_reset(previous) {
            match &mut lost {
                None => lost = Some(previous.clone()),
                Some(sum) => add(sum, previous, ctx)?,
            }
        }
        previous = h;
    }
    Some(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoothed_counter_rises_from_zero_after_a_reset() {
        assert_eq!(interpolate((0, 10.0), (10, 20.0), 5, true), 15.0);
        assert_eq!(interpolate((0, 10.0), (10, 4.0), 5, true), 2.0);
        assert_eq!(interpolate((0, 10.0), (10, 4.0), 5, false), 7.0);
    }

    #[test]
    fn range_selectors_show_samples_at_the_edges() {
        let (t, v) = ([0, 10, 20, 30], [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(with_edges(&t, &v, (5, 25), Edges::Anchored), [(5, 0.0), (10, 1.0), (20, 2.0), (25, 3.0)]);
        assert_eq!(with_edges(&t, &v, (5, 25), Edges::Smoothed), [(5, 0.5), (10, 1.0), (20, 2.0), (25, 2.5)]);
        assert_eq!(with_edges(&t, &v, (40, 50), Edges::Anchored), []);
    }
}
