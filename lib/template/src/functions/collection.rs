//! `len index slice` over texts (by byte, as in Go), maps and vectors.

use super::{Failure, Outcome};
use crate::value::Value;

pub(super) fn len(value: &Value) -> Outcome {
    let n = match value {
        Value::Str(s) | Value::Html(s) => s.len(),
        Value::Labels(m) => m.len(),
        Value::Args(a) => a.entries.len(),
        Value::Vector(v) => v.len(),
        Value::Nil => return Err("reflect: call of reflect.Value.Type on zero Value".into()),
        other => return Err(format!("len of type {}", other.go_type().trim_start_matches('*')).into()),
    };
    Ok(Value::Int(n as i64))
}

/// `index x 1 2` is `x[1][2]`.
pub(super) fn index(value: &Value, indexes: &[Value]) -> Outcome {
    if matches!(value, Value::Nil) {
        return Err("index of untyped nil".into());
    }
    let mut item = value.clone();
    for index in indexes {
        item = match &item {
            Value::Str(text) | Value::Html(text) => {
                Value::Byte(text.as_bytes()[position(index, text.len(), false)?])
            }
            Value::Vector(vector) => Value::Sample(vector[position(index, vector.len(), false)?].clone()),
            Value::Labels(labels) => {
                labels.get(key(index)?).map_or_else(|| "".into(), |v| Value::from(v.as_str()))
            }
            Value::Args(args) => args.entries.get(key(index)?).cloned().unwrap_or(Value::Nil),
            Value::Nil => return Err("index of nil pointer".into()),
            other => {
                return Err(
                    format!("can't index item of type {}", other.go_type().trim_start_matches('*')).into()
                );
            }
        };
    }
    Ok(item)
}

fn key(index: &Value) -> Result<&str, Failure> {
    match index {
        Value::Str(text) => Ok(text),
        Value::Nil => Err("value is nil; should be of type string".into()),
        other => Err(format!("value has type {}; should be string", other.go_type()).into()),
    }
}

/// A place in something of a length; one behind the end is good for slices only.
fn position(index: &Value, length: usize, end_allowed: bool) -> Result<usize, Failure> {
    let n = match index {
        Value::Int(n) => *n,
        Value::Byte(n) => i64::from(*n),
        Value::Named { number, .. } => *number,
        Value::Nil => return Err("cannot index slice/array with nil".into()),
        other => return Err(format!("cannot index slice/array with type {}", other.go_type()).into()),
    };
    match usize::try_from(n) {
        Ok(at) if at < length || (end_allowed && at == length) => Ok(at),
        _ => Err(format!("index out of range: {n}").into()),
    }
}

/// `slice x 1 2` is `x[1:2]`.
pub(super) fn slice(value: &Value, indexes: &[Value]) -> Outcome {
    let length = match value {
        Value::Nil => return Err("slice of untyped nil".into()),
        Value::Str(text) | Value::Html(text) => text.len(),
        Value::Vector(vector) => vector.len(),
        other => {
            return Err(
                format!("can't slice item of type {}", other.go_type().trim_start_matches('*')).into()
            );
        }
    };
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()).into());
    }
    if indexes.len() == 3 && !matches!(value, Value::Vector(_)) {
        return Err("cannot 3-index slice a string".into());
    }
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length, true)?;
    }
    let [from, to, capacity] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}").into());
    }
    if to > capacity {
        return Err(format!("invalid slice index: {to} > {capacity}").into());
    }
    Ok(match value {
        Value::Vector(vector) => Value::Vector(vector[from..to].to_vec().into()),
        Value::Html(text) => Value::Html(String::from_utf8_lossy(&text.as_bytes()[from..to]).into()),
        Value::Str(text) => Value::Str(String::from_utf8_lossy(&text.as_bytes()[from..to]).into()),
        _ => unreachable!("other types were refused above"),
    })
}
