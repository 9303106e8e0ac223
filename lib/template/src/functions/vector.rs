//! Query results: asking, picking, sorting; and `args`, which hands several values to a definition.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Outcome;
use super::strings::text;
use crate::exec::Exec;
use crate::limits::{MAX_ARGS_DEPTH, MAX_OUTPUT_BYTES, MAX_QUERIES};
use crate::value::{Args, Value};

/// What Go says when `nil` is passed for a sample.
const NIL_SAMPLE: &str = "runtime error: invalid memory address or nil pointer dereference";

pub(super) fn query(exec: &mut Exec<'_>, args: &[Value]) -> Outcome {
    let expr = text(&args[0]);
    exec.queries += 1;
    if exec.queries > MAX_QUERIES {
        return Ok(exec.limit(format_args!("{MAX_QUERIES} queries"))?);
    }
    match exec.env.queries.answer(&expr) {
        None => Ok(exec.needs_query(&expr)?),
        Some(Err(reason)) => Err(reason.into()),
        Some(Ok(samples)) => {
            exec.spend(samples.len() as u64)?;
            Ok(Value::Vector(Arc::new(samples)))
        }
    }
}

pub(super) fn first(vector: &Value) -> Outcome {
    match vector {
        Value::Vector(samples) if !samples.is_empty() => Ok(Value::Sample(samples[0].clone())),
        _ => Err("first() called on vector with no elements".into()),
    }
}

pub(super) fn label(name: &Value, sample: &Value) -> Outcome {
    match sample {
        Value::Sample(sample) => Ok(sample.labels.get(&*text(name)).map_or("", String::as_str).into()),
        _ => Err(NIL_SAMPLE.into()),
    }
}

pub(super) fn value(sample: &Value) -> Outcome {
    match sample {
        Value::Sample(sample) => Ok(sample.value.clone()),
        _ => Err(NIL_SAMPLE.into()),
    }
}

/// By the value of one label; equal ones stay in their order.
pub(super) fn sort_by_label(exec: &mut Exec<'_>, args: &[Value]) -> Outcome {
    let name = text(&args[0]);
    let Value::Vector(samples) = &args[1] else { return Ok(Value::Vector(Arc::default())) };
    exec.spend(samples.len() as u64)?;
    let mut sorted = samples.to_vec();
    sorted.sort_by(|a, b| a.labels.get(&*name).map_or("", |v| v).cmp(b.labels.get(&*name).map_or("", |v| v)));
    Ok(Value::Vector(Arc::new(sorted)))
}

/// `arg0`, `arg1`, … in a map.
pub(super) fn args(exec: &mut Exec<'_>, args: &[Value]) -> Outcome {
    let depth_of = |value: &Value| if let Value::Args(inner) = value { inner.depth } else { 0 };
    let depth = 1 + args.iter().map(depth_of).max().unwrap_or(0);
    let bytes = args.iter().map(|v| v.printed_bytes() + 8).fold(0usize, usize::saturating_add);
    if depth > MAX_ARGS_DEPTH {
        return Ok(exec.limit(format_args!("{MAX_ARGS_DEPTH} maps within maps"))?);
    }
    exec.spend_bytes(bytes.min(MAX_OUTPUT_BYTES + 1))?;
    let entries: BTreeMap<String, Value> =
        args.iter().enumerate().map(|(i, value)| (format!("arg{i}"), value.clone())).collect();
    Ok(Value::Args(Arc::new(Args { entries, depth, bytes })))
}
