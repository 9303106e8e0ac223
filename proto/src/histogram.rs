//! Native histograms of both versions, which share their field numbers.
//!
//! The wire's `oneof`s decide the kind: `count_float` makes a float histogram, anything else an integer one. What
//! belongs to the other kind is ignored, as in Prometheus. Rules about the values are the judge's, not ours.

use std::sync::Arc;

use cairn_model::{CounterResetHint, FloatHistogram, Histogram, Span, TimestampMs, Value};

use crate::error::DecodeError;
use crate::wire::{Field, FieldValue, Reader, zigzag};

const HISTOGRAM: &str = "Histogram";
const SPAN: &str = "BucketSpan";

/// The bytes of a `Histogram` message.
#[derive(Debug, Clone, Copy)]
pub struct HistogramBytes<'a>(pub &'a [u8]);

/// A histogram sample as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedHistogram {
    /// When.
    pub t_ms: TimestampMs,
    /// Start timestamp, 0 = unknown.
    pub start_ms: TimestampMs,
    /// [`Value::Histogram`] or [`Value::FloatHistogram`].
    pub value: Value,
}

#[derive(Default)]
struct Fields {
    count_int: u64,
    count_float: Option<f64>,
    zero_count_int: u64,
    zero_count_float: f64,
    sum: f64,
    schema: i32,
    zero_threshold: f64,
    reset_hint: CounterResetHint,
    positive_spans: Vec<Span>,
    negative_spans: Vec<Span>,
    positive_deltas: Vec<i64>,
    negative_deltas: Vec<i64>,
    positive_counts: Vec<f64>,
    negative_counts: Vec<f64>,
    custom_values: Vec<f64>,
    t_ms: TimestampMs,
    start_ms: TimestampMs,
}

impl HistogramBytes<'_> {
    /// Builds the histogram. Memory is in proportion to the message: a span announces buckets but allocates none.
    ///
    /// # Errors
    /// [`DecodeError`] when the message is damaged.
    pub fn decode(self) -> Result<DecodedHistogram, DecodeError> {
        let mut f = Fields::default();
        let mut reader = Reader::new(self.0, HISTOGRAM);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => (f.count_int, f.count_float) = (field.varint(HISTOGRAM)?, None),
                2 => f.count_float = Some(field.double(HISTOGRAM)?),
                3 => f.sum = field.double(HISTOGRAM)?,
                4 => f.schema = zigzag(field.varint(HISTOGRAM)?) as i32,
                5 => f.zero_threshold = field.double(HISTOGRAM)?,
                6 => f.zero_count_int = field.varint(HISTOGRAM)?,
                7 => f.zero_count_float = field.double(HISTOGRAM)?,
                8 => f.negative_spans.push(span(field.bytes(HISTOGRAM)?)?),
                9 => deltas(&mut f.negative_deltas, &field)?,
                10 => doubles(&mut f.negative_counts, &field)?,
                11 => f.positive_spans.push(span(field.bytes(HISTOGRAM)?)?),
                12 => deltas(&mut f.positive_deltas, &field)?,
                13 => doubles(&mut f.positive_counts, &field)?,
                14 => f.reset_hint = CounterResetHint::from_wire(field.varint(HISTOGRAM)?),
                15 => f.t_ms = field.varint(HISTOGRAM)? as i64,
                16 => doubles(&mut f.custom_values, &field)?,
                17 => f.start_ms = field.varint(HISTOGRAM)? as i64,
                _ => {}
            }
        }
        Ok(f.finish())
    }
}

impl Fields {
    fn finish(self) -> DecodedHistogram {
        let value = match self.count_float {
            Some(count) => Value::FloatHistogram(Arc::new(FloatHistogram {
                reset_hint: self.reset_hint,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero_count_float,
                count,
                sum: self.sum,
                positive_spans: self.positive_spans,
                negative_spans: self.negative_spans,
                positive_buckets: self.positive_counts,
                negative_buckets: self.negative_counts,
                custom_values: self.custom_values,
            })),
            None => Value::Histogram(Arc::new(Histogram {
                reset_hint: self.reset_hint,
                schema: self.schema,
                zero_threshold: self.zero_threshold,
                zero_count: self.zero_count_int,
                count: self.count_int,
                sum: self.sum,
                positive_spans: self.positive_spans,
                negative_spans: self.negative_spans,
                positive_buckets: self.positive_deltas,
                negative_buckets: self.negative_deltas,
                custom_values: self.custom_values,
            })),
        };
        DecodedHistogram { t_ms: self.t_ms, start_ms: self.start_ms, value }
    }
}

/// `1 offset sint32, 2 length uint32`.
fn span(bytes: &[u8]) -> Result<Span, DecodeError> {
    let mut reader = Reader::new(bytes, SPAN);
    let mut span = Span::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => span.offset = zigzag(field.varint(SPAN)?) as i32,
            2 => span.length = field.varint(SPAN)? as u32,
            _ => {}
        }
    }
    Ok(span)
}

fn deltas(out: &mut Vec<i64>, field: &Field<'_>) -> Result<(), DecodeError> {
    if let FieldValue::Varint(v) = field.value {
        out.push(zigzag(v));
        return Ok(());
    }
    let mut reader = Reader::new(field.bytes(HISTOGRAM)?, HISTOGRAM);
    while !reader.rest().is_empty() {
        out.push(zigzag(reader.varint()?));
    }
    Ok(())
}

fn doubles(out: &mut Vec<f64>, field: &Field<'_>) -> Result<(), DecodeError> {
    if let FieldValue::Fixed64(v) = field.value {
        out.push(f64::from_bits(v));
        return Ok(());
    }
    let bytes = field.bytes(HISTOGRAM)?;
    let (chunks, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(DecodeError::Truncated { message: HISTOGRAM, need: 8, left: rest.len() });
    }
    out.extend(chunks.iter().map(|c| f64::from_le_bytes(*c)));
    Ok(())
}
