//! `resets` and `changes`: counting what happens between neighbouring samples.

use std::sync::Arc;

use cairn_model::{FloatHistogram, TimestampMs};

use super::rate::start_says_reset;
use super::window::{Output, RangeContext, StepResult, Window};
use crate::engine::plan::Edges;

/// A sample of either kind with its times.
struct Sample<'a> {
    t_ms: TimestampMs,
    start_ms: TimestampMs,
    value: Value<'a>,
}

enum Value<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

/// The samples of both kinds from the given indexes, in order of time.
fn merged<'a>(w: Window<'a>, mut f: usize, mut h: usize) -> impl Iterator<Item = Sample<'a>> {
    std::iter::from_fn(move || {
        let float = w.floats.t_ms.get(f).copied();
        let histogram = w.histograms.t_ms.get(h).copied();
        let take_float = match (float, histogram) {
            (Some(a), Some(b)) => a <= b,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return None,
        };
        Some(if take_float {
            f += 1;
            let i = f - 1;
            let value = Value::Float(w.floats.value[i]);
            Sample { t_ms: w.floats.t_ms[i], start_ms: w.floats.start(i), value }
        } else {
            h += 1;
            let i = h - 1;
            let value = Value::Histogram(&w.histograms.value[i]);
            Sample { t_ms: w.histograms.t_ms[i], start_ms: w.histograms.start(i), value }
        })
    })
}

/// Counts the neighbours for which `differ` holds; a float beside a histogram always counts.
fn count(
    window: Window<'_>,
    ctx: &RangeContext<'_>,
    differ: impl Fn(&Sample<'_>, &Sample<'_>) -> bool,
) -> Option<f64> {
    let (f, h) = first_samples(&window, ctx)?;
    let mut samples = merged(window, f, h);
    let mut previous = samples.next()?;
    let mut n = 0u64;
    for sample in samples {
        let mixed = matches!(
            (&previous.value, &sample.value),
            (Value::Float(_), Value::Histogram(_)) | (Value::Histogram(_), Value::Float(_))
        );
        n += u64::from(mixed || differ(&previous, &sample));
        previous = sample;
    }
    Some(n as f64)
}

/// Where counting begins: at the first samples, or for an anchored range at the last sample at or before its
/// start. `None` when the range has no sample of its own.
fn first_samples(w: &Window<'_>, ctx: &RangeContext<'_>) -> Option<(usize, usize)> {
    if ctx.edges != Edges::Anchored {
        return Some((0, 0));
    }
    let f = w.floats.t_ms.partition_point(|t| *t <= ctx.start_ms);
    let h = w.histograms.t_ms.partition_point(|t| *t <= ctx.start_ms);
    if f == w.floats.len() && h == w.histograms.len() {
        return None;
    }
    let before = |t: &[TimestampMs], i: usize| i.checked_sub(1).map(|i| t[i]);
    Some(match (before(w.floats.t_ms, f), before(w.histograms.t_ms, h)) {
        (None, None) => (f, h),
        (float, histogram) if float >= histogram => (f - 1, h),
        _ => (f, h - 1),
    })
}

/// `resets` at one step.
pub fn resets(window: Window<'_>, ctx: &mut RangeContext<'_>) -> StepResult {
    let n = count(window, ctx, |a, b| {
        start_says_reset((a.start_ms, a.t_ms), (b.start_ms, b.t_ms))
            || match (&a.value, &b.value) {
                (Value::Float(a), Value::Float(b)) => b < a,
                (Value::Histogram(a), Value::Histogram(b)) => b.detect_reset(a),
                _ => true,
            }
    });
    Ok(n.map(Output::Float))
}

/// `changes` at one step.
pub fn changes(window: Window<'_>, ctx: &mut RangeContext<'_>) -> StepResult {
    let n = count(window, ctx, |a, b| match (&a.value, &b.value) {
        (Value::Float(a), Value::Float(b)) => a != b && !(a.is_nan() && b.is_nan()),
        (Value::Histogram(a), Value::Histogram(b)) => !b.same_data(a),
        _ => true,
    });
    Ok(n.map(Output::Float))
}
