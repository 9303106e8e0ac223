//! Native histograms in WAL records. Layout: docs/formats/wal.md.
//!
//! Invariant: any histogram round-trips to the bit, also one that validation would refuse.

use std::sync::Arc;

use cairn_model::sample::Sample;
use cairn_model::{CounterResetHint, FloatHistogram, Histogram, Span, Value};

use super::columns::{BadRecord, Reader, put_float, put_uvarint, put_varint};

const INTEGER: u8 = 1;
const FLOAT: u8 = 2;

/// Appends a sample. A float value is not a histogram and is left to the float columns.
pub fn put_histogram(out: &mut Vec<u8>, series: u32, (t_ms, start_ms): (i64, i64), value: &Value) {
    put_uvarint(out, u64::from(series));
    put_varint(out, t_ms);
    put_varint(out, start_ms);
    match value {
        Value::Histogram(h) => {
            out.push(INTEGER);
            put_head(out, h.reset_hint, h.schema, h.zero_threshold);
            put_uvarint(out, h.zero_count);
            put_uvarint(out, h.count);
            put_float(out, h.sum);
            put_spans(out, &h.positive_spans);
            put_spans(out, &h.negative_spans);
            for buckets in [&h.positive_buckets, &h.negative_buckets] {
                put_uvarint(out, buckets.len() as u64);
                buckets.iter().for_each(|b| put_varint(out, *b));
            }
            put_floats(out, &h.custom_values);
        }
        Value::FloatHistogram(h) => {
            out.push(FLOAT);
            put_head(out, h.reset_hint, h.schema, h.zero_threshold);
            put_float(out, h.zero_count);
            put_float(out, h.count);
            put_float(out, h.sum);
            put_spans(out, &h.positive_spans);
            put_spans(out, &h.negative_spans);
            put_floats(out, &h.positive_buckets);
            put_floats(out, &h.negative_buckets);
            put_floats(out, &h.custom_values);
        }
        Value::Float(_) => {
            unreachable!("histogram columns hold histograms: the receiver's decoder sees to it")
        }
    }
}

/// Reads a sample with the index of its series.
pub fn take_histogram(r: &mut Reader<'_>) -> Result<(u32, Sample), BadRecord> {
    let series = u32::try_from(r.uvarint()?).map_err(|_| BadRecord("series index out of range"))?;
    let (t_ms, start_ms) = (r.varint()?, r.varint()?);
    let kind = r.byte()?;
    let reset_hint = CounterResetHint::from_wire(u64::from(r.byte()?));
    let schema = i32::try_from(r.varint()?).map_err(|_| BadRecord("histogram schema out of range"))?;
    let zero_threshold = r.float()?;
    let value = match kind {
        INTEGER => Value::Histogram(Arc::new(Histogram {
            reset_hint,
            schema,
            zero_threshold,
            zero_count: r.uvarint()?,
            count: r.uvarint()?,
            sum: r.float()?,
            positive_spans: take_spans(r)?,
            negative_spans: take_spans(r)?,
            positive_buckets: take_many(r, Reader::varint)?,
            negative_buckets: take_many(r, Reader::varint)?,
            custom_values: take_many(r, Reader::float)?,
        })),
        FLOAT => Value::FloatHistogram(Arc::new(FloatHistogram {
            reset_hint,
            schema,
            zero_threshold,
            zero_count: r.float()?,
            count: r.float()?,
            sum: r.float()?,
            positive_spans: take_spans(r)?,
            negative_spans: take_spans(r)?,
            positive_buckets: take_many(r, Reader::float)?,
            negative_buckets: take_many(r, Reader::float)?,
            custom_values: take_many(r, Reader::float)?,
        })),
        _ => return Err(BadRecord("unknown kind of histogram")),
    };
    Ok((series, Sample { t_ms, start_ms, value }))
}

fn put_head(out: &mut Vec<u8>, hint: CounterResetHint, schema: i32, zero_threshold: f64) {
    out.push(hint as u8);
    put_varint(out, i64::from(schema));
    put_float(out, zero_threshold);
}

fn put_spans(out: &mut Vec<u8>, spans: &[Span]) {
    put_uvarint(out, spans.len() as u64);
    for s in spans {
        put_varint(out, i64::from(s.offset));
        put_uvarint(out, u64::from(s.length));
    }
}

fn put_floats(out: &mut Vec<u8>, values: &[f64]) {
    put_uvarint(out, values.len() as u64);
    values.iter().for_each(|v| put_float(out, *v));
}

fn take_spans(r: &mut Reader<'_>) -> Result<Vec<Span>, BadRecord> {
    take_many(r, |r| {
        let offset = i32::try_from(r.varint()?).map_err(|_| BadRecord("span offset out of range"))?;
        let length = u32::try_from(r.uvarint()?).map_err(|_| BadRecord("span length out of range"))?;
        Ok(Span { offset, length })
    })
}

fn take_many<'a, T>(
    r: &mut Reader<'a>,
    mut one: impl FnMut(&mut Reader<'a>) -> Result<T, BadRecord>,
) -> Result<Vec<T>, BadRecord> {
    let n = r.count_of_bytes()?;
    (0..n).map(|_| one(r)).collect()
}
