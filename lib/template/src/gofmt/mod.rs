//! Go's `fmt` for the values of the template language: how a value prints by itself, `print`, `println` and `printf`.
//!
//! Parts: [`float`] (strconv's formatting), [`quote`](mod@quote), `verbs` (`printf`).
//! Source: <https://pkg.go.dev/fmt>.

pub(crate) mod float;
mod number;
mod quote;
mod verbs;

pub(crate) use quote::{is_printable, quote};
pub(crate) use verbs::sprintf;

use crate::value::Value;

/// What `{{ value }}` writes: pointers are followed, nothing is `<no value>`.
pub(crate) fn print_value(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".to_owned(),
        Value::Str(text) | Value::Html(text) => text.to_string(),
        Value::Sample(_) => plain(value, Style::default()).trim_start_matches('&').to_owned(),
        _ => plain(value, Style::default()),
    }
}

/// `print`: a space between two operands that are both no strings.
pub(crate) fn sprint(values: &[Value]) -> String {
    let mut out = String::new();
    for (i, value) in values.iter().enumerate() {
        let both_no_strings = i > 0 && !is_string(value) && !is_string(&values[i - 1]);
        if both_no_strings {
            out.push(' ');
        }
        out.push_str(&plain(value, Style::default()));
    }
    out
}

/// `println`: a space between any two operands, a newline at the end.
pub(crate) fn sprintln(values: &[Value]) -> String {
    let words: Vec<String> = values.iter().map(|v| plain(v, Style::default())).collect();
    words.join(" ") + "\n"
}

fn is_string(value: &Value) -> bool {
    matches!(value, Value::Str(_) | Value::Html(_))
}

/// The variants of `%v`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Style {
    /// `%+v`: with field names.
    pub names: bool,
    /// `%#v`: as Go source.
    pub source: bool,
}

/// `%v`. Elements of a vector are pointers in Go, printed as addresses; here their content stands instead.
pub(crate) fn plain(value: &Value, style: Style) -> String {
    if style.source {
        return source(value);
    }
    if let Some(word) = value.stringer() {
        return word;
    }
    match value {
        Value::Nil => "<nil>".to_owned(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Byte(n) => n.to_string(),
        Value::Float(f) => float::format(*f, 'g', None),
        Value::Str(text) | Value::Html(text) => text.to_string(),
        Value::Labels(labels) => map(labels.iter().map(|(k, v)| format!("{k}:{v}"))),
        Value::Args(args) => map(args.entries.iter().map(|(k, v)| format!("{k}:{}", plain(v, style)))),
        Value::Vector(vector) => {
            let words: Vec<String> = vector.iter().map(|s| plain(&Value::Sample(s.clone()), style)).collect();
            format!("[{}]", words.join(" "))
        }
        Value::Sample(sample) => {
            let fields = [("Labels", Value::Labels(sample.labels.clone())), ("Value", sample.value.clone())];
            format!("&{}", structure(&fields, style))
        }
        Value::Root(data) => structure(
            &[
                ("Labels", Value::Labels(data.labels.clone())),
                ("ExternalLabels", Value::Labels(data.external_labels.clone())),
                ("ExternalURL", Value::Str(data.external_url.clone())),
                ("Value", data.value.clone()),
            ],
            style,
        ),
        Value::Time(..) | Value::Duration(..) | Value::Named { .. } | Value::Histogram(_) => {
            unreachable!("these have a word of their own")
        }
    }
}

fn map(entries: impl Iterator<Item = String>) -> String {
    format!("map[{}]", entries.collect::<Vec<_>>().join(" "))
}

fn structure(fields: &[(&str, Value)], style: Style) -> String {
    let words: Vec<String> = fields
        .iter()
        .map(|(name, value)| match style.names {
            true => format!("{name}:{}", plain(value, style)),
            false => plain(value, style),
        })
        .collect();
    format!("{{{}}}", words.join(" "))
}

fn source(value: &Value) -> String {
    match value {
        Value::Str(text) | Value::Html(text) => quote(text),
        Value::Byte(n) => format!("0x{n:x}"),
        Value::Float(f) => float::format(*f, 'g', None),
        Value::Labels(labels) => {
            let entries: Vec<String> =
                labels.iter().map(|(k, v)| format!("{}:{}", quote(k), quote(v))).collect();
            format!("map[string]string{{{}}}", entries.join(", "))
        }
        Value::Args(args) => {
            let entries: Vec<String> =
                args.entries.iter().map(|(k, v)| format!("{}:{}", quote(k), source(v))).collect();
            format!("map[string]interface {{}}{{{}}}", entries.join(", "))
        }
        Value::Duration(d, _) => d.nanos().to_string(),
        Value::Named { number, .. } => number.to_string(),
        other => plain(other, Style::default()),
    }
}
