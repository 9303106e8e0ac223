//! When a result is as expected: Prometheus' tolerances for floats and histograms, labels and order exactly.

use cairn_model::{FloatHistogram, Labels, is_stale};

use super::expectation::{Expectation, ExpectedSeries, ExpectedValue, Steps};
use super::histogram_literal::format;
use super::sequence::SequenceValue;
use crate::parser::PlainFloat;
use crate::value::{MatrixSeries, QueryValue, SampleValue, VectorSample};

/// Largest difference of two floats, relative to the sum of their magnitudes.
const EPSILON: f64 = 1e-6;

/// Whether two floats are as good as equal: within [`EPSILON`] of one another, or both stale markers, or both
/// another NaN.
pub fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

/// Whether two histograms are as good as equal: layout and bounds exactly, numbers as in [`almost_equal`]; empty
/// buckets do not count, and the hint only if `with_hint`.
pub fn histograms_match(want: &FloatHistogram, got: &FloatHistogram, with_hint: bool) -> bool {
    let numbers = [(want.count, got.count), (want.sum, got.sum), (want.zero_count, got.zero_count)];
    want.schema == got.schema
        && want.zero_threshold == got.zero_threshold
        && want.custom_values == got.custom_values
        && (!with_hint || want.reset_hint == got.reset_hint)
        && numbers.iter().all(|(a, b)| almost_equal(*a, *b))
        && buckets_match(want.positive(), got.positive())
        && buckets_match(want.negative(), got.negative())
}

fn buckets_match(want: impl Iterator<Item = (i32, f64)>, got: impl Iterator<Item = (i32, f64)>) -> bool {
    let mut got = got.filter(|(_, count)| *count != 0.0);
    let mut want = want.filter(|(_, count)| *count != 0.0);
    loop {
        match (want.next(), got.next()) {
            (None, None) => return true,
            (Some((i, a)), Some((j, b))) if i == j && almost_equal(a, b) => {}
            _ => return false,
        }
    }
}

/// Checks a result against what is expected of it.
///
/// # Errors
/// `expected …, got …` for the first difference.
pub fn compare(expectation: &Expectation, got: &QueryValue) -> Result<(), String> {
    match (got, &expectation.value) {
        (QueryValue::String(_, got), ExpectedValue::String(want)) if want == got => Ok(()),
        (QueryValue::String(_, got), ExpectedValue::String(want)) => {
            Err(format!("expected string {want:?}, got {got:?}"))
        }
        (QueryValue::Scalar(got), ExpectedValue::Scalar(want)) if almost_equal(*want, got.value) => Ok(()),
        (QueryValue::Scalar(got), ExpectedValue::Scalar(want)) => {
            Err(format!("expected scalar {}, got {}", PlainFloat(*want), PlainFloat(got.value)))
        }
        (QueryValue::Vector(got), ExpectedValue::Series(want)) => {
            compare_vector(want, expectation.ordered, got)
        }
        (QueryValue::Matrix(_), ExpectedValue::Series(_)) if expectation.ordered => {
            Err("expected an ordered result, got a matrix".to_owned())
        }
        (QueryValue::Matrix(got), ExpectedValue::Series(want)) => {
            compare_matrix(want, expectation.steps, got)
        }
        (got, want) => {
            let want = match want {
                ExpectedValue::Scalar(_) => "a scalar",
                ExpectedValue::String(_) => "a string",
                ExpectedValue::Series(_) => "a vector or matrix",
            };
            Err(format!("expected {want}, got {}", got.value_type()))
        }
    }
}

fn find<'a>(want: &'a [ExpectedSeries], labels: &Labels) -> Option<&'a ExpectedSeries> {
    // Of two lines with the same labels the later one counts.
    want.iter().rev().find(|s| s.labels == *labels)
}

fn missing<'a>(
    want: &'a [ExpectedSeries],
    mut got: impl Iterator<Item = &'a Labels> + Clone,
) -> Result<(), String> {
    match want.iter().find(|s| !got.clone().any(|l| *l == s.labels)) {
        None => Ok(()),
        Some(s) => {
            let values = show_values(&s.values);
            let others = match got.next() {
                None => "an empty result".to_owned(),
                Some(_) => "no such series".to_owned(),
            };
            Err(format!("expected {} {values}, got {others}", s.labels))
        }
    }
}

fn show_values(values: &[SequenceValue]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn show(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(v) => PlainFloat(*v).to_string(),
        SampleValue::Histogram(h) => format(h),
    }
}

fn compare_vector(want: &[ExpectedSeries], ordered: bool, got: &[VectorSample]) -> Result<(), String> {
    for (i, sample) in got.iter().enumerate() {
        let Some(expected) = find(want, &sample.labels) else {
            return Err(format!("expected no series {}, got {}", sample.labels, show(&sample.value)));
        };
        let value = expected.values.first().unwrap_or(&SequenceValue::Omitted);
        if !value_matches(value, &sample.value) {
            return Err(format!("expected {} {value}, got {}", sample.labels, show(&sample.value)));
        }
        if ordered && expected.place != i + 1 {
            let (labels, place) = (&sample.labels, expected.place);
            return Err(format!("expected {labels} at place {place}, got it at place {}", i + 1));
        }
    }
    missing(want, got.iter().map(|s| &s.labels))
}

fn value_matches(want: &SequenceValue, got: &SampleValue) -> bool {
    match (want, got) {
        (SequenceValue::Float(want), SampleValue::Float(got)) => almost_equal(*want, *got),
        (SequenceValue::Histogram { value, hint_stated }, SampleValue::Histogram(got)) => {
            histograms_match(value, got, *hint_stated)
        }
        _ => false,
    }
}

fn compare_matrix(want: &[ExpectedSeries], steps: Steps, got: &[MatrixSeries]) -> Result<(), String> {
    check_sorted(got)?;
    for series in got {
        let Some(expected) = find(want, &series.labels) else {
            return Err(format!("expected no series {}, got {}", series.labels, show_points(series)));
        };
        compare_points(expected, steps, series)?;
    }
    missing(want, got.iter().map(|s| &s.labels))
}

/// A matrix comes in the order of its labels, without duplicates.
pub fn check_sorted(matrix: &[MatrixSeries]) -> Result<(), String> {
    match matrix.windows(2).find(|w| w[0].labels > w[1].labels) {
        None => Ok(()),
        Some(w) => {
            Err(format!("expected series sorted by labels, got {} before {}", w[0].labels, w[1].labels))
        }
    }
}

fn compare_points(want: &ExpectedSeries, steps: Steps, got: &MatrixSeries) -> Result<(), String> {
    let labels = &want.labels;
    let (mut floats, mut histograms) = (got.floats.iter(), got.histograms.iter());
    let differs = |value: &SequenceValue, t_ms: i64| {
        Err(format!("expected {labels} {value} at {t_ms} ms, got {}", show_points(got)))
    };
    for (i, value) in want.values.iter().enumerate() {
        let t_ms = steps.from_ms + i as i64 * steps.step_ms;
        if t_ms > steps.to_ms {
            return Err(format!(
                "expected {} points of {labels}, which are more than there are steps",
                want.values.len()
            ));
        }
        let same = match value {
            SequenceValue::Omitted => true,
            SequenceValue::Float(v) => {
                floats.next().is_some_and(|p| p.t_ms == t_ms && almost_equal(*v, p.value))
            }
            SequenceValue::Histogram { value, hint_stated } => histograms
                .next()
                .is_some_and(|p| p.t_ms == t_ms && histograms_match(value, &p.value, *hint_stated)),
        };
        if !same {
            return differs(value, t_ms);
        }
    }
    let more = floats.next().map(|p| p.t_ms).or(histograms.next().map(|p| p.t_ms));
    match more {
        Some(t_ms) => differs(&SequenceValue::Omitted, t_ms),
        None => Ok(()),
    }
}

fn show_points(series: &MatrixSeries) -> String {
    let floats = series.floats.iter().map(|p| (p.t_ms, PlainFloat(p.value).to_string()));
    let histograms = series.histograms.iter().map(|p| (p.t_ms, format(&p.value)));
    let mut points: Vec<_> = floats.chain(histograms).collect();
    points.sort_by_key(|(t_ms, _)| *t_ms);
    let texts: Vec<_> = points.into_iter().map(|(t_ms, value)| format!("{value} @{t_ms}")).collect();
    format!("[{}]", texts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::sample::stale_nan;

    #[test]
    fn floats_are_equal_within_the_tolerance() {
        for (a, b, want) in [
            (1.0, 1.0 + 1e-7, true),
            (1.0, 1.0 + 1e-5, false),
            (0.0, 1e-300, false),
            (0.0, -0.0, true),
            (f64::NAN, f64::NAN, true),
            (f64::NAN, stale_nan(), false),
            (stale_nan(), stale_nan(), true),
            (f64::INFINITY, f64::INFINITY, true),
            (f64::INFINITY, f64::MAX, false),
            (f64::MAX, f64::MAX * (1.0 - 1e-9), true),
            (-1.0, 1.0, false),
        ] {
            assert_eq!(almost_equal(a, b), want, "{a} {b}");
        }
    }
}
