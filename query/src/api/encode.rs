//! Results of an evaluation as Prometheus' JSON.

use std::time::Duration;

use cairn_model::FloatHistogram;
use cairn_promql::engine::QueryStats;
use cairn_promql::value::{MatrixSeries, QueryValue, SampleValue, VectorSample};

use crate::json::{write_float, write_labels, write_point, write_string, write_timestamp};

/// `{"resultType":…,"result":…}`, open: the caller adds `stats` or closes the brace.
pub fn write_result(out: &mut Vec<u8>, value: &QueryValue) {
    out.extend_from_slice(b"{\"resultType\":\"");
    out.extend_from_slice(kind(value).as_bytes());
    out.extend_from_slice(b"\",\"result\":");
    match value {
        QueryValue::Scalar(p) => write_scalar(out, p.t_ms, p.value),
        QueryValue::String(t_ms, text) => {
            out.push(b'[');
            write_timestamp(out, *t_ms);
            out.push(b',');
            write_string(out, text);
            out.push(b']');
        }
        QueryValue::Vector(samples) => write_list(out, samples, write_sample),
        QueryValue::Matrix(series) => {
            let size = |s: &MatrixSeries| s.labels.as_bytes().len() * 2 + s.floats.len() * POINT_BYTES;
            out.reserve(series.iter().map(size).sum());
            write_list(out, series, write_series);
        }
    }
}

/// About what a float's point takes: seconds without a fraction, 17 digits and what stands between them.
const POINT_BYTES: usize = 36;

/// The API's name of the value's type.
pub fn kind(value: &QueryValue) -> &'static str {
    match value {
        QueryValue::Scalar(_) => "scalar",
        QueryValue::String(..) => "string",
        QueryValue::Vector(_) => "vector",
        QueryValue::Matrix(_) => "matrix",
    }
}

/// The `stats` object. Sorting is part of the evaluation here; `samplesRead` and its steps are not counted and left out.
pub fn write_stats(out: &mut Vec<u8>, stats: &QueryStats, queued: Duration) {
    let total = stats.preparation + stats.fetch + stats.evaluation;
    let timings = [
        ("evalTotalTime", total),
        ("resultSortTime", Duration::ZERO),
        ("queryPreparationTime", stats.preparation + stats.fetch),
        ("innerEvalTime", stats.evaluation),
        ("execQueueTime", queued),
        ("execTotalTime", queued + total),
    ];
    // Display writes no exponent and no point behind a whole number, as Go does.
    let timings = timings.map(|(name, time)| format!("\"{name}\":{}", time.as_secs_f64())).join(",");
    out.extend_from_slice(format!("{{\"timings\":{{{timings}}},\"samples\":{{").as_bytes());
    if let Some(steps) = &stats.samples_per_step {
        out.extend_from_slice(b"\"totalQueryableSamplesPerStep\":");
        let at = |k: usize| steps.start_ms + steps.step_ms * k as i64;
        let numbered: Vec<_> = steps.counts.iter().enumerate().collect();
        write_list(out, &numbered, |out, (k, count)| {
            out.push(b'[');
            write_timestamp(out, at(*k));
            out.extend_from_slice(format!(",{count}]").as_bytes());
        });
        out.push(b',');
    }
    let (total, peak) = (stats.total_queryable_samples, stats.peak_samples);
    out.extend_from_slice(format!("\"totalQueryableSamples\":{total},\"peakSamples\":{peak}}}}}").as_bytes());
}

/// A JSON array.
pub fn write_list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// `[t,"v"]` of a scalar, which Prometheus never prints with an exponent.
fn write_scalar(out: &mut Vec<u8>, t_ms: i64, v: f64) {
    if v.is_finite() {
        out.push(b'[');
        write_timestamp(out, t_ms);
        out.extend_from_slice(format!(",\"{v}\"]").as_bytes());
    } else {
        write_point(out, t_ms, v);
    }
}

fn write_sample(out: &mut Vec<u8>, s: &VectorSample) {
    out.extend_from_slice(b"{\"metric\":");
    write_labels(out, s.labels.as_ref());
    match &s.value {
        SampleValue::Float(v) => {
            out.extend_from_slice(b",\"value\":");
            write_point(out, s.t_ms, *v);
        }
        SampleValue::Histogram(h) => {
            out.extend_from_slice(b",\"histogram\":");
            write_histogram_point(out, s.t_ms, h);
        }
    }
    out.push(b'}');
}

fn write_series(out: &mut Vec<u8>, s: &MatrixSeries) {
    out.extend_from_slice(b"{\"metric\":");
    write_labels(out, s.labels.as_ref());
    if !s.floats.is_empty() {
        out.extend_from_slice(b",\"values\":");
        write_list(out, &s.floats, |out, p| write_point(out, p.t_ms, p.value));
    }
    if !s.histograms.is_empty() {
        out.extend_from_slice(b",\"histograms\":");
        write_list(out, &s.histograms, |out, p| write_histogram_point(out, p.t_ms, &p.value));
    }
    out.push(b'}');
}

fn write_histogram_point(out: &mut Vec<u8>, t_ms: i64, h: &FloatHistogram) {
    out.push(b'[');
    write_timestamp(out, t_ms);
    out.push(b',');
    write_histogram(out, h);
    out.push(b']');
}

/// A histogram as a text of its own.
pub fn histogram_json(h: &FloatHistogram) -> String {
    let mut out = Vec::new();
    write_histogram(&mut out, h);
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// `{"count":"…","sum":"…","buckets":[[rule,"lower","upper","count"],…]}`; empty buckets are left out.
fn write_histogram(out: &mut Vec<u8>, h: &FloatHistogram) {
    out.extend_from_slice(b"{\"count\":");
    write_quoted(out, h.count);
    out.extend_from_slice(b",\"sum\":");
    write_quoted(out, h.sum);
    let buckets: Vec<_> = h.all_buckets().into_iter().filter(|b| b.count != 0.0).collect();
    if !buckets.is_empty() {
        out.extend_from_slice(b",\"buckets\":");
        write_list(out, &buckets, |out, b| {
            // Which bounds belong to the bucket: 0 upper, 1 lower, 2 none, 3 both.
            let rule = match (b.lower_inclusive, b.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            };
            out.extend_from_slice(format!("[{rule},").as_bytes());
            write_quoted(out, b.lower);
            out.push(b',');
            write_quoted(out, b.upper);
            out.push(b',');
            write_quoted(out, b.count);
            out.push(b']');
        });
    }
    out.push(b'}');
}

fn write_quoted(out: &mut Vec<u8>, v: f64) {
    out.push(b'"');
    write_float(out, v);
    out.push(b'"');
}
