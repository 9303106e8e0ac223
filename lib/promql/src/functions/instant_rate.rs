//! `irate` and `idelta`: the difference of the last two samples.

use std::sync::Arc;

use cairn_model::{CounterResetHint, FloatHistogram, TimestampMs};

use super::rate::{start_says_reset, sub};
use super::window::{Output, RangeContext, StepResult, Window};
use crate::annotations::Note;

#[derive(Clone)]
enum Value<'a> {
    Float(f64),
    Histogram(&'a Arc<FloatHistogram>),
}

#[derive(Clone)]
struct Last<'a> {
    t_ms: TimestampMs,
    start_ms: TimestampMs,
    value: Value<'a>,
}

/// The last two samples of either kind, older first.
fn last_two<'a>(w: &Window<'a>) -> Option<[Last<'a>; 2]> {
    let (mut f, mut h) = (w.floats.len(), w.histograms.len());
    let mut take = || -> Option<Last<'a>> {
        let float = f.checked_sub(1).map(|i| w.floats.t_ms[i]);
        let histogram = h.checked_sub(1).map(|i| w.histograms.t_ms[i]);
        if float >= histogram && float.is_some() {
            f -= 1;
            let value = Value::Float(w.floats.value[f]);
            Some(Last { t_ms: w.floats.t_ms[f], start_ms: w.floats.start(f), value })
        } else {
            h = h.checked_sub(1)?;
            let value = Value::Histogram(&w.histograms.value[h]);
            Some(Last { t_ms: w.histograms.t_ms[h], start_ms: w.histograms.start(h), value })
        }
    };
    let newer = take()?;
    let older = take()?;
    Some([older, newer])
}

/// The function at one step; `counter` is `irate`.
pub fn instant_difference(window: Window<'_>, counter: bool, ctx: &mut RangeContext<'_>) -> StepResult {
    let Some([a, b]) = last_two(&window) else { return Ok(None) };
    let seconds = (b.t_ms - a.t_ms) as f64 / 1000.0;
    if b.t_ms == a.t_ms {
        return Ok(None);
    }
    let started_anew = counter && start_says_reset((a.start_ms, a.t_ms), (b.start_ms, b.t_ms));
    match (a.value, b.value) {
        (Value::Float(old), Value::Float(new)) => {
            let difference = if counter && (new < old || started_anew) { new } else { new - old };
            Ok(Some(Output::Float(if counter { difference / seconds } else { difference })))
        }
        (Value::Histogram(old), Value::Histogram(new)) => {
            let gauges = [old, new].iter().filter(|h| h.reset_hint == CounterResetHint::Gauge).count();
            if counter && gauges > 0 {
                ctx.note(Note::NotCounterHistogram);
            }
            if !counter && gauges < 2 {
                ctx.note(Note::NotGaugeHistogram);
            }
            let mut difference = (**new).clone();
            difference.reset_hint = CounterResetHint::Gauge; // contradicting hints are nothing to tell of here
            if !(counter && (started_anew || new.detect_reset(old)))
                && sub(&mut difference, old, ctx).is_none()
            {
                return Ok(None);
            }
            difference.compact();
            if counter {
                difference.div(seconds);
            }
            Ok(Some(Output::histogram(difference)))
        }
        _ => {
            ctx.note(Note::MixedFloatsHistograms);
            Ok(None)
        }
    }
}
