//! Results of an evaluation as Prometheus' JSON.

use std::ops::Range;
use std::time::Duration;

use cairn_model::number::{append_api, format_api};
use cairn_model::{FloatHistogram, Labels};
use cairn_promql::engine::{QueryStats, SampleCount, SamplesPerStep};
use cairn_promql::value::{MatrixSeries, QueryValue, SampleValue, VectorSample};
use cairn_runtime::CpuPool;

use crate::json::{write_labels, write_point, write_string, write_timestamp};

/// `{"resultType":…,"result":…}`, open: the caller adds `stats` or closes the brace.
pub fn write_result(out: &mut Vec<u8>, value: &QueryValue, cpu: &CpuPool) {
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
        QueryValue::Vector(samples) => {
            write_long_list(out, samples, cpu, |s| labels_size(&s.labels) + POINT_BYTES, write_sample);
        }
        QueryValue::Matrix(series) => {
            let size = |s: &MatrixSeries| labels_size(&s.labels) + s.floats.len() * POINT_BYTES;
            write_long_list(out, series, cpu, size, write_series);
        }
    }
}

/// About what labels take: one has some bytes of length and its share of the canonical form, and six more in JSON.
pub fn labels_size(labels: &Labels) -> usize {
    labels.as_bytes().len() * 3 / 2 + 64
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

/// The `stats` object. Sorting is part of the evaluation here.
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
    let timings =
        timings.map(|(name, time)| format!("\"{name}\":{}", format_api(time.as_secs_f64()))).join(",");
    out.extend_from_slice(format!("{{\"timings\":{{{timings}}},\"samples\":{{").as_bytes());
    let steps = stats.samples_per_step.as_ref();
    write_steps(out, "totalQueryableSamplesPerStep", steps, |count| count.looked_at);
    out.extend_from_slice(format!("\"totalQueryableSamples\":{},", stats.total_queryable_samples).as_bytes());
    write_steps(out, "samplesReadPerStep", steps, |count| count.read);
    let (read, peak) = (stats.samples_read, stats.peak_samples);
    out.extend_from_slice(format!("\"samplesRead\":{read},\"peakSamples\":{peak}}}}}").as_bytes());
}

/// `"name":[[t,count],…],` of the steps, where they were counted.
fn write_steps(
    out: &mut Vec<u8>,
    name: &str,
    steps: Option<&SamplesPerStep>,
    count: impl Fn(&SampleCount) -> u64,
) {
    let Some(steps) = steps else { return };
    out.extend_from_slice(format!("\"{name}\":").as_bytes());
    let numbered: Vec<_> = steps.counts.iter().enumerate().collect();
    write_list(out, &numbered, |out, (k, n)| {
        out.push(b'[');
        write_timestamp(out, steps.start_ms + steps.step_ms * *k as i64);
        out.extend_from_slice(format!(",{}]", count(n)).as_bytes());
    });
    out.push(b',');
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

/// Size from which on several cores write a list. Judgement: some hundred microseconds of work.
const SPREAD_BYTES: usize = 32 << 10;

/// The same of a list that may be long, on several cores where it is; `size` estimates what an item takes.
pub fn write_long_list<T: Sync>(
    out: &mut Vec<u8>,
    items: &[T],
    cpu: &CpuPool,
    size: impl Fn(&T) -> usize,
    write: impl Fn(&mut Vec<u8>, &T) + Sync,
) {
    let total: usize = items.iter().map(&size).sum();
    let cores = if total < SPREAD_BYTES { 1 } else { cpu.parallelism() };
    let stretches = stretches_of(items, total, cores, size);
    // The first stretch is written where the whole list will be, so that only the others are copied.
    let begin = std::mem::take(out);
    let written = cpu.share(stretches.len(), |i| {
        let (items, bytes) = (&items[stretches[i].0.clone()], stretches[i].1);
        let mut out = Vec::with_capacity(if i == 0 { begin.len() + total + ENVELOPE_BYTES } else { bytes });
        if i == 0 {
            out.extend_from_slice(&begin);
        }
        for (at, item) in items.iter().enumerate() {
            out.push(if i == 0 && at == 0 { b'[' } else { b',' });
            write(&mut out, item);
        }
        out
    });
    let mut written = written.into_iter();
    *out = written.next().unwrap_or(begin);
    written.for_each(|more| out.extend_from_slice(&more));
    if items.is_empty() {
        out.push(b'[');
    }
    out.push(b']');
}

/// Room for what stands around a list.
const ENVELOPE_BYTES: usize = 256;

/// `items` in up to `count` stretches of about the same size, with that.
fn stretches_of<T>(
    items: &[T],
    total: usize,
    count: usize,
    size: impl Fn(&T) -> usize,
) -> Vec<(Range<usize>, usize)> {
    let mut stretches = Vec::with_capacity(count);
    let (mut begin, mut bytes) = (0, 0);
    for (i, item) in items.iter().enumerate() {
        bytes += size(item);
        if bytes >= total.div_ceil(count) || i + 1 == items.len() {
            stretches.push((begin..i + 1, bytes));
            (begin, bytes) = (i + 1, 0);
        }
    }
    stretches
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
    append_api(out, v);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_the_same_from_several_cores() {
        let items: Vec<usize> = (0..20_000).map(|i| i * 7919 % 10_007).collect();
        for n in [0, 1, 2, 3, 5_000, items.len()] {
            let (mut want, mut size) = (b"x".to_vec(), 0);
            write_list(&mut want, &items[..n], |out, i| out.extend_from_slice(i.to_string().as_bytes()));
            for cpu in [CpuPool::inline(), CpuPool::threads(2), CpuPool::threads(5)] {
                let mut got = b"x".to_vec();
                // An estimate, and not a good one.
                let estimate = |i: &usize| 3 + i % 11;
                size = items[..n].iter().map(estimate).sum();
                write_long_list(&mut got, &items[..n], &cpu, estimate, |out, i| {
                    out.extend_from_slice(i.to_string().as_bytes());
                });
                assert!(got == want, "{n} items");
            }
            assert!(n < items.len() || size > SPREAD_BYTES, "the longest list is long enough");
        }
    }

    #[test]
    fn statistics_are_written_as_prometheus_writes_them() {
        let stats = QueryStats {
            preparation: Duration::from_nanos(403),
            evaluation: Duration::from_micros(20),
            total_queryable_samples: 5,
            samples_read: 3,
            samples_per_step: Some(SamplesPerStep {
                start_ms: 1_500,
                step_ms: 500,
                counts: vec![SampleCount { looked_at: 2, read: 2 }, SampleCount { looked_at: 3, read: 1 }],
            }),
            peak_samples: 9,
            ..QueryStats::default()
        };
        let mut out = Vec::new();
        write_stats(&mut out, &stats, Duration::from_secs(2));
        let timings = r#""evalTotalTime":0.000020403,"resultSortTime":0,"queryPreparationTime":4.03e-07,"innerEvalTime":0.00002,"execQueueTime":2,"execTotalTime":2.000020403"#;
        let samples = r#""totalQueryableSamplesPerStep":[[1.500,2],[2,3]],"totalQueryableSamples":5,"samplesReadPerStep":[[1.500,2],[2,1]],"samplesRead":3,"peakSamples":9"#;
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(r#"{{"timings":{{{timings}}},"samples":{{{samples}}}}}"#)
        );
    }

    #[test]
    fn stretches_hold_everything_once_and_are_about_alike() {
        let sizes = [5, 1, 1, 1, 50, 1, 1, 20, 20];
        let stretches = stretches_of(&sizes, 100, 3, |s| *s);
        assert_eq!(stretches, [(0..5, 58), (5..9, 42)]);
        assert_eq!(stretches_of(&sizes, 100, 1, |s| *s), [(0..9, 100)]);
        assert_eq!(stretches_of(&sizes[..0], 0, 3, |s| *s), []);
    }
}
