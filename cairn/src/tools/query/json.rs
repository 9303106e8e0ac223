//! Results as JSON, written as Go writes it: sorted keys, `<`, `>` and `&` escaped, numbers without exponents.

use cairn_model::number::format_f;

use super::value::{Histogram, Metric, Number, QueryData};

/// A result without its envelope.
pub fn query(data: &QueryData) -> String {
    match data {
        QueryData::Scalar(p) => point(p),
        QueryData::String((t, text)) => format!("[{},{}]", format_f(*t), string(text)),
        QueryData::Vector(samples) => list(samples, |s| {
            let value = s.value.as_ref().map(|p| format!(",\"value\":{}", point(p)));
            let histogram = s.histogram.as_ref().map(|h| format!(",\"histogram\":{}", histogram_point(h)));
            let sample = value.or(histogram).unwrap_or_default();
            format!("{{\"metric\":{}{sample}}}", metric(&s.metric))
        }),
        QueryData::Matrix(series) => list(series, |s| {
            let mut fields = format!("{{\"metric\":{}", metric(&s.metric));
            if !s.values.is_empty() {
                fields.push_str(&format!(",\"values\":{}", list(&s.values, point)));
            }
            if !s.histograms.is_empty() {
                fields.push_str(&format!(",\"histograms\":{}", list(&s.histograms, histogram_point)));
            }
            fields.push('}');
            fields
        }),
    }
}

/// A list of label sets.
pub fn metrics(found: &[Metric]) -> String {
    list(found, metric)
}

/// A list of texts.
pub fn strings(found: &[String]) -> String {
    list(found, |s| string(s))
}

fn list<T>(items: &[T], write: impl Fn(&T) -> String) -> String {
    format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(","))
}

fn metric(m: &Metric) -> String {
    let pairs: Vec<String> = m.iter().map(|(n, v)| format!("{}:{}", string(n), string(v))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn point((t, v): &(f64, Number)) -> String {
    format!("[{},{}]", format_f(*t), number(*v))
}

fn histogram_point((t, h): &(f64, Histogram)) -> String {
    let bucket = |(rule, lower, upper, count): &(u8, Number, Number, Number)| {
        format!("[{rule},{},{},{}]", number(*lower), number(*upper), number(*count))
    };
    let buckets = match h.buckets.is_empty() {
        true => "null".to_owned(),
        false => list(&h.buckets, bucket),
    };
    let (count, sum) = (number(h.count), number(h.sum));
    format!("[{},{{\"count\":{count},\"sum\":{sum},\"buckets\":{buckets}}}]", format_f(*t))
}

fn number(v: Number) -> String {
    format!("\"{}\"", format_f(v.0))
}

fn string(text: &str) -> String {
    let plain = serde_json::to_string(text).expect("a string");
    let escape = |c: char| match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    plain.chars().map(escape).collect()
}
