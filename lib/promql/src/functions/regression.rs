//! `deriv`, `predict_linear` and `double_exponential_smoothing`.

use cairn_model::TimestampMs;
use cairn_model::kahan::Kahan;

use super::window::{Output, RangeContext, Samples, StepResult, Window};
use crate::annotations::Note;
use crate::engine::error::QueryError;

/// Slope per second and value at `origin_ms` of the line of least squares through at least two samples.
pub fn linear_regression(s: Samples<'_, f64>, origin_ms: TimestampMs) -> (f64, f64) {
    let first = s.value[0];
    if s.value.iter().all(|v| *v == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let n = s.len() as f64;
    let [mut x_sum, mut y_sum, mut xy_sum, mut xx_sum] = [Kahan::default(); 4];
    for (t, y) in s.t_ms.iter().zip(s.value) {
        let x = (t - origin_ms) as f64 / 1000.0;
        x_sum.add(x);
        y_sum.add(*y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let total = |k: Kahan| k.sum + k.c;
    let (x, y) = (total(x_sum), total(y_sum));
    let covariance = total(xy_sum) - x * y / n;
    let variance = total(xx_sum) - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// Whether there are two floats at least; tells of histograms that are left out.
fn enough(window: &Window<'_>, ctx: &mut RangeContext<'_>) -> bool {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        ctx.note(Note::HistogramIgnoredInMixedRange);
    }
    window.floats.len() >= 2
}

/// `deriv` at one step.
pub fn deriv(window: Window<'_>, ctx: &mut RangeContext<'_>) -> StepResult {
    if !enough(&window, ctx) {
        return Ok(None);
    }
    let (slope, _) = linear_regression(window.floats, window.floats.t_ms[0]);
    Ok(Some(Output::Float(slope)))
}

/// `predict_linear` at one step.
pub fn predict_linear(window: Window<'_>, ctx: &mut RangeContext<'_>) -> StepResult {
    if !enough(&window, ctx) {
        return Ok(None);
    }
    let (slope, intercept) = linear_regression(window.floats, ctx.eval_ms);
    Ok(Some(Output::Float(slope * ctx.params[0] + intercept)))
}

/// `double_exponential_smoothing` at one step.
pub fn double_exponential_smoothing(window: Window<'_>, ctx: &mut RangeContext<'_>) -> StepResult {
    let (smoothing, trend) = (ctx.params[0], ctx.params[1]);
    for (factor, name, short) in [(smoothing, "smoothing", "sf"), (trend, "trend", "tf")] {
        if factor <= 0.0 || factor >= 1.0 {
            return Err(QueryError::Execution(format!(
                "invalid {name} factor. Expected: 0 < {short} < 1, got: {factor:.6}"
            )));
        }
    }
    if !enough(&window, ctx) {
        return Ok(None);
    }
    let v = window.floats.value;
    let (mut before, mut level, mut slope) = (0.0, v[0], v[1] - v[0]);
    for (i, x) in v.iter().enumerate().skip(1) {
        if i > 1 {
            slope = trend * (level - before) + (1.0 - trend) * slope;
        }
        (before, level) = (level, smoothing * x + (1.0 - smoothing) * (level + slope));
    }
    Ok(Some(Output::Float(level)))
}
