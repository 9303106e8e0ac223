//! Writes both requests: for self-monitoring, for rulers that write to another server, and for tests.
//!
//! The output is what stock senders write: fields in order of their numbers, lists packed, zeros left out. One
//! [`WriteRequest`] can be written as either version; 1.0 has no place for start timestamps.

use std::collections::HashMap;

use cairn_model::metadata::Metadata;
use cairn_model::{CounterResetHint, Span, TimestampMs, Value};

/// A request to write.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriteRequest {
    /// Series in order.
    pub series: Vec<TimeSeries>,
    /// Metadata by family, for 1.0; in 2.0 it stands at the series.
    pub metadata: Vec<(String, Metadata)>,
}

/// A series to write.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TimeSeries {
    /// Names and values, written in this order.
    pub labels: Vec<(String, String)>,
    /// Samples of any kind; floats and histograms are written in this order each.
    pub samples: Vec<Sample>,
    /// Exemplars.
    pub exemplars: Vec<Exemplar>,
    /// Metadata, for 2.0.
    pub metadata: Option<Metadata>,
}

/// A sample to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When.
    pub t_ms: TimestampMs,
    /// Start timestamp, 0 = unknown.
    pub start_ms: TimestampMs,
    /// The value.
    pub value: Value,
}

/// An exemplar to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Names and values.
    pub labels: Vec<(String, String)>,
    /// The measured value.
    pub value: f64,
    /// When.
    pub t_ms: TimestampMs,
}

impl TimeSeries {
    /// A series of float samples `(t_ms, value)`.
    pub fn floats(labels: &[(&str, &str)], samples: &[(TimestampMs, f64)]) -> Self {
        TimeSeries {
            labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            samples: samples
                .iter()
                .map(|&(t_ms, v)| Sample { t_ms, start_ms: 0, value: Value::Float(v) })
                .collect(),
            ..TimeSeries::default()
        }
    }
}

/// Compresses into a snappy block.
pub fn snappy_block(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).expect("requests are far below snappy's 4 GiB")
}

/// Writes `request` as 1.0, uncompressed.
pub fn encode_v1(request: &WriteRequest) -> Vec<u8> {
    let mut out = Vec::new();
    for series in &request.series {
        message(&mut out, 1, |out| {
            for (name, value) in &series.labels {
                label(out, name, value);
            }
            samples(out, &series.samples, [2, 4], false);
            for exemplar in &series.exemplars {
                message(out, 3, |out| {
                    for (name, value) in &exemplar.labels {
                        label(out, name, value);
                    }
                    double(out, 2, exemplar.value);
                    varint_field(out, 3, exemplar.t_ms as u64);
                });
            }
        });
    }
    for (family, metadata) in &request.metadata {
        message(&mut out, 3, |out| {
            varint_field(out, 1, metadata.metric_type as u64);
            text(out, 2, family);
            text(out, 4, &metadata.help);
            text(out, 5, &metadata.unit);
        });
    }
    out
}

/// Writes `request` as 2.0, uncompressed; metadata by family is left out.
pub fn encode_v2(request: &WriteRequest) -> Vec<u8> {
    let mut symbols = Symbols::new();
    let mut series_bytes = Vec::new();
    for series in &request.series {
        message(&mut series_bytes, 5, |out| {
            refs(out, &mut symbols, &series.labels);
            samples(out, &series.samples, [2, 3], true);
            for exemplar in &series.exemplars {
                message(out, 4, |out| {
                    refs(out, &mut symbols, &exemplar.labels);
                    double(out, 2, exemplar.value);
                    varint_field(out, 3, exemplar.t_ms as u64);
                });
            }
            if let Some(metadata) = &series.metadata {
                message(out, 5, |out| {
                    varint_field(out, 1, metadata.metric_type as u64);
                    varint_field(out, 3, symbols.intern(&metadata.help));
                    varint_field(out, 4, symbols.intern(&metadata.unit));
                });
            }
        });
    }
    let mut out = Vec::new();
    for symbol in &symbols.texts {
        bytes_field(&mut out, 4, symbol.as_bytes());
    }
    out.extend_from_slice(&series_bytes);
    out
}

struct Symbols {
    texts: Vec<String>,
    indexes: HashMap<String, u64>,
}

impl Symbols {
    /// Symbol 0 is the empty text.
    fn new() -> Self {
        Symbols { texts: vec![String::new()], indexes: HashMap::from([(String::new(), 0)]) }
    }

    fn intern(&mut self, text: &str) -> u64 {
        if let Some(&index) = self.indexes.get(text) {
            return index;
        }
        let index = self.texts.len() as u64;
        self.texts.push(text.to_owned());
        self.indexes.insert(text.to_owned(), index);
        index
    }
}

fn refs(out: &mut Vec<u8>, symbols: &mut Symbols, labels: &[(String, String)]) {
    if labels.is_empty() {
        return;
    }
    message(out, 1, |out| {
        for text in labels.iter().flat_map(|(n, v)| [n, v]) {
            varint(out, symbols.intern(text));
        }
    });
}

fn samples(out: &mut Vec<u8>, samples: &[Sample], [float, histogram]: [u32; 2], starts: bool) {
    for s in samples {
        if let Value::Float(v) = s.value {
            message(out, float, |out| {
                double(out, 1, v);
                varint_field(out, 2, s.t_ms as u64);
                varint_field(out, 3, if starts { s.start_ms as u64 } else { 0 });
            });
        }
    }
    for s in samples {
        if s.value.is_histogram() {
            message(out, histogram, |out| histogram_fields(out, s, starts));
        }
    }
}

/// The fields of either kind of histogram, as one shape.
struct Shape<'a> {
    hint: CounterResetHint,
    schema: i32,
    zero_threshold: f64,
    sum: f64,
    positive_spans: &'a [Span],
    negative_spans: &'a [Span],
    custom_values: &'a [f64],
}

fn histogram_fields(out: &mut Vec<u8>, sample: &Sample, starts: bool) {
    let shape = match &sample.value {
        Value::Float(_) => unreachable!("the caller passes histograms only"),
        Value::Histogram(h) => Shape {
            hint: h.reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            sum: h.sum,
            positive_spans: &h.positive_spans,
            negative_spans: &h.negative_spans,
            custom_values: &h.custom_values,
        },
        Value::FloatHistogram(h) => Shape {
            hint: h.reset_hint,
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            sum: h.sum,
            positive_spans: &h.positive_spans,
            negative_spans: &h.negative_spans,
            custom_values: &h.custom_values,
        },
    };
    // Members of a oneof are written even when they are zero: they say which kind it is.
    match &sample.value {
        Value::Histogram(h) => always_varint(out, 1, h.count),
        Value::FloatHistogram(h) => always_double(out, 2, h.count),
        Value::Float(_) => {}
    }
    double(out, 3, shape.sum);
    varint_field(out, 4, zigzag(i64::from(shape.schema)));
    double(out, 5, shape.zero_threshold);
    match &sample.value {
        Value::Histogram(h) => always_varint(out, 6, h.zero_count),
        Value::FloatHistogram(h) => always_double(out, 7, h.zero_count),
        Value::Float(_) => {}
    }
    spans(out, 8, shape.negative_spans);
    match &sample.value {
        Value::Histogram(h) => packed_deltas(out, 9, &h.negative_buckets),
        Value::FloatHistogram(h) => packed_doubles(out, 10, &h.negative_buckets),
        Value::Float(_) => {}
    }
    spans(out, 11, shape.positive_spans);
    match &sample.value {
        Value::Histogram(h) => packed_deltas(out, 12, &h.positive_buckets),
        Value::FloatHistogram(h) => packed_doubles(out, 13, &h.positive_buckets),
        Value::Float(_) => {}
    }
    varint_field(out, 14, shape.hint as u64);
    varint_field(out, 15, sample.t_ms as u64);
    packed_doubles(out, 16, shape.custom_values);
    varint_field(out, 17, if starts { sample.start_ms as u64 } else { 0 });
}

fn spans(out: &mut Vec<u8>, number: u32, spans: &[Span]) {
    for span in spans {
        message(out, number, |out| {
            varint_field(out, 1, zigzag(i64::from(span.offset)));
            varint_field(out, 2, u64::from(span.length));
        });
    }
}

fn packed_deltas(out: &mut Vec<u8>, number: u32, deltas: &[i64]) {
    if !deltas.is_empty() {
        message(out, number, |out| deltas.iter().for_each(|d| varint(out, zigzag(*d))));
    }
}

fn packed_doubles(out: &mut Vec<u8>, number: u32, values: &[f64]) {
    if !values.is_empty() {
        message(out, number, |out| values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())));
    }
}

fn label(out: &mut Vec<u8>, name: &str, value: &str) {
    message(out, 1, |out| {
        text(out, 1, name);
        text(out, 2, value);
    });
}

fn text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        bytes_field(out, number, text.as_bytes());
    }
}

fn message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes_field(out, number, &inner);
}

fn bytes_field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A double; positive zero is left out, as its bits are.
fn double(out: &mut Vec<u8>, number: u32, value: f64) {
    if value.to_bits() != 0 {
        always_double(out, number, value);
    }
}

fn always_double(out: &mut Vec<u8>, number: u32, value: f64) {
    varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    if value != 0 {
        always_varint(out, number, value);
    }
}

fn always_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    varint(out, u64::from(number) << 3);
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}
