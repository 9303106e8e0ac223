//! The values a template can hold, each knowing the Go type it stands for: messages, `%T` and comparisons depend on it.
//!
//! Strings are UTF-8 here and bytes in Go; where Go would cut a character in two (`slice`), U+FFFD stands for the rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::gotime::{Duration, Time};

/// A value of the template language.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: `nil`, or what a missing entry of `args` is. Prints as `<no value>`, in `printf` as `<nil>`.
    Nil,
    /// `bool`
    Bool(bool),
    /// `int` or `int64`
    Int(i64),
    /// `uint8`, from indexing a string.
    Byte(u8),
    /// `float64`
    Float(f64),
    /// `string`
    Str(Arc<str>),
    /// `template.HTML`, from `safeHtml`: a string that is no `string`.
    Html(Arc<str>),
    /// `map[string]string`: a missing key is the empty string.
    Labels(Arc<BTreeMap<String, String>>),
    /// `map[string]interface {}`, from `args`.
    Args(Arc<Args>),
    /// The result of `query`.
    Vector(Arc<Vec<Arc<Sample>>>),
    /// One element of a vector.
    Sample(Arc<Sample>),
    /// The data a rule's template starts with.
    Root(Arc<RuleData>),
    /// From `toTime`. Go has it behind a pointer at first; methods return it bare.
    Time(Time, Indirection),
    /// From `toDuration` and from methods.
    Duration(Duration, Indirection),
    /// A named number that prints as a word: `time.Month`, `time.Weekday`.
    Named {
        /// The Go type.
        go_type: &'static str,
        /// The number behind the word.
        number: i64,
        /// The word.
        text: &'static str,
    },
    /// A native histogram, known by its text only (`*histogram.FloatHistogram`).
    Histogram(Arc<str>),
}

/// Whether Go holds the value itself or a pointer to it: only type names and comparisons can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indirection {
    /// The value.
    Bare,
    /// A pointer to it.
    Pointer,
}

/// An element of a query result.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The labels, `__name__` among them.
    pub labels: Arc<BTreeMap<String, String>>,
    /// A float or a histogram.
    pub value: Value,
}

/// A map made by `args`. It can hold other such maps, so it knows how deep and how large it is: see
/// [`MAX_ARGS_DEPTH`](crate::limits::MAX_ARGS_DEPTH).
#[derive(Clone, Debug)]
pub struct Args {
    /// Values by `arg0`, `arg1`, …
    pub(crate) entries: BTreeMap<String, Value>,
    /// Maps within maps.
    pub(crate) depth: usize,
    /// About how many bytes it prints.
    pub(crate) bytes: usize,
}

/// The data of a rule's template: `.Labels`, `.ExternalLabels`, `.ExternalURL`, `.Value`, and the `$` names for them.
#[derive(Clone, Debug)]
pub struct RuleData {
    /// Labels of the series that made the alert.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Labels this installation adds to everything that leaves it.
    pub external_labels: Arc<BTreeMap<String, String>>,
    /// Where this installation is reached from outside.
    pub external_url: Arc<str>,
    /// The series' value.
    pub value: Value,
}

impl Value {
    /// A string value.
    pub fn str(text: impl Into<Arc<str>>) -> Value {
        Value::Str(text.into())
    }

    /// About how many bytes the value prints.
    pub(crate) fn printed_bytes(&self) -> usize {
        let map_bytes =
            |m: &BTreeMap<String, String>| m.iter().map(|(k, v)| k.len() + v.len() + 2).sum::<usize>();
        match self {
            Value::Str(s) | Value::Html(s) | Value::Histogram(s) => s.len(),
            Value::Labels(m) => map_bytes(m),
            Value::Sample(s) => map_bytes(&s.labels) + 32,
            Value::Vector(v) => v.iter().map(|s| map_bytes(&s.labels) + 32).sum(),
            Value::Root(d) => {
                map_bytes(&d.labels) + map_bytes(&d.external_labels) + d.external_url.len() + 32
            }
            Value::Args(a) => a.bytes,
            _ => 32,
        }
    }

    /// The name Go prints for the value's type.
    pub(crate) fn go_type(&self) -> &'static str {
        match self {
            Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Byte(_) => "uint8",
            Value::Float(_) => "float64",
            Value::Str(_) => "string",
            Value::Html(_) => "template.HTML",
            Value::Labels(_) => "map[string]string",
            Value::Args(_) => "map[string]interface {}",
            Value::Vector(_) => "template.queryResult",
            Value::Sample(_) => "*template.sample",
            Value::Root(_) => {
                "struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }"
            }
            Value::Time(_, Indirection::Bare) => "time.Time",
            Value::Time(_, Indirection::Pointer) => "*time.Time",
            Value::Duration(_, Indirection::Bare) => "time.Duration",
            Value::Duration(_, Indirection::Pointer) => "*time.Duration",
            Value::Named { go_type, .. } => go_type,
            Value::Histogram(_) => "*histogram.FloatHistogram",
        }
    }

    /// Whether `if` takes it for true: everything but the zero of its type; structs and pointers always.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(b) => *b,
            Value::Int(n) => *n != 0,
            Value::Byte(n) => *n != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) | Value::Html(s) => !s.is_empty(),
            Value::Labels(m) => !m.is_empty(),
            Value::Args(m) => !m.entries.is_empty(),
            Value::Vector(v) => !v.is_empty(),
            Value::Duration(d, Indirection::Bare) => d.nanos() != 0,
            Value::Named { number, .. } => *number != 0,
            Value::Sample(_)
            | Value::Root(_)
            | Value::Time(..)
            | Value::Duration(..)
            | Value::Histogram(_) => true,
        }
    }

    /// The word of a value that Go prints through its `String` method.
    pub(crate) fn stringer(&self) -> Option<String> {
        match self {
            Value::Time(t, _) => Some(t.to_string()),
            Value::Duration(d, _) => Some(d.to_string()),
            Value::Named { text, .. } => Some((*text).to_owned()),
            Value::Histogram(text) => Some(text.to_string()),
            _ => None,
        }
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(text.into())
    }
}
