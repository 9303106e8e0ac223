//! `eq ne lt le gt ge`: within one kind of number or text; Go compares nothing across kinds.

use super::{Failure, Outcome};
use crate::gofmt;
use crate::value::{Indirection, Value};

/// Values that compare, by kind.
enum Basic<'a> {
    Bool(bool),
    Int(i64),
    Unsigned(u64),
    Float(f64),
    Str(&'a str),
}

fn basic(value: &Value) -> Option<Basic<'_>> {
    Some(match value {
        Value::Bool(b) => Basic::Bool(*b),
        Value::Int(n) => Basic::Int(*n),
        Value::Named { number, .. } => Basic::Int(*number),
        Value::Duration(d, Indirection::Bare) => Basic::Int(d.nanos()),
        Value::Byte(n) => Basic::Unsigned(u64::from(*n)),
        Value::Float(f) => Basic::Float(*f),
        Value::Str(s) | Value::Html(s) => Basic::Str(s),
        _ => return None,
    })
}

const BAD_TYPE: &str = "invalid type for comparison";

fn incompatible(a: &Value, b: &Value) -> Failure {
    format!("incompatible types for comparison: {} and {}", a.go_type(), b.go_type()).into()
}

/// Whether the first equals any of the others.
pub(super) fn eq(first: &Value, others: &[Value]) -> Outcome {
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equal(a: &Value, b: &Value) -> Result<bool, Failure> {
    match (basic(a), basic(b)) {
        (Some(Basic::Bool(a)), Some(Basic::Bool(b))) => Ok(a == b),
        (Some(Basic::Int(a)), Some(Basic::Int(b))) => Ok(a == b),
        (Some(Basic::Unsigned(a)), Some(Basic::Unsigned(b))) => Ok(a == b),
        (Some(Basic::Int(a)), Some(Basic::Unsigned(b))) | (Some(Basic::Unsigned(b)), Some(Basic::Int(a))) => {
            Ok(u64::try_from(a) == Ok(b))
        }
        (Some(Basic::Float(a)), Some(Basic::Float(b))) => Ok(a == b),
        (Some(Basic::Str(a)), Some(Basic::Str(b))) => Ok(a == b),
        (None, None) => equal_other(a, b),
        _ if matches!(a, Value::Nil) || matches!(b, Value::Nil) => Ok(false),
        _ => Err(incompatible(a, b)),
    }
}

/// Nothing equals nothing; pointers equal when they are the same; maps and vectors never compare.
fn equal_other(a: &Value, b: &Value) -> Result<bool, Failure> {
    match (a, b) {
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        (Value::Sample(a), Value::Sample(b)) => Ok(std::sync::Arc::ptr_eq(a, b)),
        (Value::Time(a, x), Value::Time(b, y)) if x == y => Ok(*x == Indirection::Bare && a == b),
        (Value::Duration(..), Value::Duration(..)) => Ok(false),
        (Value::Labels(_) | Value::Args(_), Value::Labels(_) | Value::Args(_))
        | (Value::Vector(_), Value::Vector(_)) => {
            let shown = gofmt::sprint(std::slice::from_ref(b));
            Err(format!("non-comparable type {shown}: {}", b.go_type()).into())
        }
        _ => Err(incompatible(a, b)),
    }
}

pub(super) fn ne(a: &Value, b: &Value) -> Outcome {
    Ok(Value::Bool(!equal(a, b)?))
}

pub(super) fn lt(a: &Value, b: &Value) -> Outcome {
    less(a, b).map(Value::Bool)
}

pub(super) fn le(a: &Value, b: &Value) -> Outcome {
    Ok(Value::Bool(less(a, b)? || equal(a, b)?))
}

pub(super) fn gt(a: &Value, b: &Value) -> Outcome {
    Ok(Value::Bool(!(less(a, b)? || equal(a, b)?)))
}

pub(super) fn ge(a: &Value, b: &Value) -> Outcome {
    Ok(Value::Bool(!less(a, b)?))
}

fn less(a: &Value, b: &Value) -> Result<bool, Failure> {
    let (Some(x), Some(y)) = (basic(a), basic(b)) else { return Err(BAD_TYPE.into()) };
    match (x, y) {
        (Basic::Int(a), Basic::Int(b)) => Ok(a < b),
        (Basic::Unsigned(a), Basic::Unsigned(b)) => Ok(a < b),
        (Basic::Int(a), Basic::Unsigned(b)) => Ok(u64::try_from(a).is_ok_and(|a| a < b) || a < 0),
        (Basic::Unsigned(a), Basic::Int(b)) => Ok(u64::try_from(b).is_ok_and(|b| a < b)),
        (Basic::Float(a), Basic::Float(b)) => Ok(a < b),
        (Basic::Str(a), Basic::Str(b)) => Ok(a < b),
        (Basic::Bool(_), Basic::Bool(_)) => Err(BAD_TYPE.into()),
        _ => Err(incompatible(a, b)),
    }
}
