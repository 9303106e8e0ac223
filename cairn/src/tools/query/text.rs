//! Results as text, in the shapes that promtool prints.

use std::cmp::Ordering;

use cairn_model::labels::quoted;
use cairn_model::number::format_f;

use super::value::{Histogram, Metric, Number, QueryData, Stream};

const NAME: &str = "__name__";

/// A result; series of a matrix are sorted, a vector's stay as they came, because they may have been sorted by value.
pub fn query(data: QueryData) -> String {
    match data {
        QueryData::Scalar((t, v)) => format!("scalar: {} @[{}]", number(v), format_f(t)),
        QueryData::String((_, text)) => text,
        QueryData::Vector(samples) => {
            let line = |s: &super::value::Sample| match (&s.value, &s.histogram) {
                (Some((t, v)), _) => format!("{} => {} @[{}]", metric(&s.metric), number(*v), format_f(*t)),
                (None, Some((t, h))) => {
                    format!("{} => {} @[{}]", metric(&s.metric), histogram(h), format_f(*t))
                }
                (None, None) => metric(&s.metric),
            };
            samples.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        QueryData::Matrix(mut series) => {
            series.sort_by(|a, b| by_labels(&a.metric, &b.metric));
            series.iter().map(stream).collect::<Vec<_>>().join("\n")
        }
    }
}

fn stream(s: &Stream) -> String {
    let floats = s.values.iter().map(|(t, v)| format!("{} @[{}]", number(*v), format_f(*t)));
    let histograms = s.histograms.iter().map(|(t, h)| format!("{} @[{}]", histogram(h), format_f(*t)));
    let points: Vec<String> = floats.chain(histograms).collect();
    format!("{} =>\n{}", metric(&s.metric), points.join("\n"))
}

/// `name{a="1"}`, or `{a="1"}` without a name.
fn metric(m: &Metric) -> String {
    let name = m.get(NAME).map_or("", String::as_str);
    let labels: Vec<String> = m.iter().filter(|(n, _)| *n != NAME).map(pair).collect();
    match (name, labels.is_empty()) {
        ("", true) => "{}".to_owned(),
        (name, true) => name.to_owned(),
        (name, false) => format!("{name}{{{}}}", labels.join(", ")),
    }
}

/// `{__name__="name", a="1"}`.
pub fn label_set(m: &Metric) -> String {
    format!("{{{}}}", m.iter().map(pair).collect::<Vec<_>>().join(", "))
}

fn pair((name, value): (&String, &String)) -> String {
    format!("{name}={}", quoted(value))
}

fn number(v: Number) -> String {
    format_f(v.0)
}

/// `Count: 3.000000, Sum: 4.500000, Buckets: [(1,2]:1.5 …]`.
fn histogram(h: &Histogram) -> String {
    let bucket = |(rule, lower, upper, count): &(u8, Number, Number, Number)| {
        // Which bounds belong to the bucket: 0 upper, 1 lower, 2 none, 3 both.
        let open = if matches!(rule, 1 | 3) { '[' } else { '(' };
        let close = if matches!(rule, 0 | 3) { ']' } else { ')' };
        format!("{open}{},{}{close}:{}", number(*lower), number(*upper), number(*count))
    };
    let buckets: Vec<String> = h.buckets.iter().map(bucket).collect();
    let six = |v: Number| if v.0.is_finite() { format!("{:.6}", v.0) } else { format_f(v.0) };
    format!("Count: {}, Sum: {}, Buckets: [{}]", six(h.count), six(h.sum), buckets.join(" "))
}

/// The order of Prometheus' client library: fewer labels first; then the first name that differs, where a label that
/// is missing comes before one that is there.
fn by_labels(a: &Metric, b: &Metric) -> Ordering {
    let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
    names.sort();
    names.dedup();
    let compare = |name: &&String| match (a.get(*name), b.get(*name)) {
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (a, b) => a.cmp(&b),
    };
    a.len().cmp(&b.len()).then_with(|| {
        names.iter().map(compare).find(|order| *order != Ordering::Equal).unwrap_or(Ordering::Equal)
    })
}
