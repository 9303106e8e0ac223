//! What a query answers.
//!
//! Floats and histograms of a series are kept apart, as the API writes them apart. Times are the evaluation's,
//! except in the matrix of a range selector, which holds samples at their own times.

use std::sync::Arc;

use cairn_model::{FloatHistogram, Labels, TimestampMs};

use crate::parser::ValueType;

/// A result, by the type of the expression.
#[derive(Debug, Clone, PartialEq)]
pub enum QueryValue {
    /// One number.
    Scalar(FloatPoint),
    /// One text, with the evaluation's time.
    String(TimestampMs, String),
    /// One sample a series, in the order that the expression asks for.
    Vector(Vec<VectorSample>),
    /// Many samples a series; series in order of their labels.
    Matrix(Vec<MatrixSeries>),
}

/// A float at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FloatPoint {
    /// When.
    pub t_ms: TimestampMs,
    /// The value.
    pub value: f64,
}

/// A histogram at a time.
#[derive(Debug, Clone)]
pub struct HistogramPoint {
    /// When.
    pub t_ms: TimestampMs,
    /// The value; shared, because evaluation hands samples through unchanged where it can.
    pub value: Arc<FloatHistogram>,
}

/// Equal to the bit.
impl PartialEq for HistogramPoint {
    fn eq(&self, other: &Self) -> bool {
        self.t_ms == other.t_ms && self.value.bits_eq(&other.value)
    }
}

/// One value of either kind.
#[derive(Debug, Clone)]
pub enum SampleValue {
    /// A float.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<FloatHistogram>),
}

/// Equal to the bit; the reset hint of histograms counts.
impl PartialEq for SampleValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (SampleValue::Float(a), SampleValue::Float(b)) => a.to_bits() == b.to_bits(),
            (SampleValue::Histogram(a), SampleValue::Histogram(b)) => a.bits_eq(b),
            _ => false,
        }
    }
}

/// A series of an instant vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSample {
    /// Which series.
    pub labels: Labels,
    /// The evaluation's time.
    pub t_ms: TimestampMs,
    /// Its value.
    pub value: SampleValue,
}

/// A series of a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSeries {
    /// Which series.
    pub labels: Labels,
    /// Its floats, in order of time.
    pub floats: Vec<FloatPoint>,
    /// Its histograms, in order of time.
    pub histograms: Vec<HistogramPoint>,
}

impl QueryValue {
    /// The type of the value.
    pub fn value_type(&self) -> ValueType {
        match self {
            QueryValue::Scalar(_) => ValueType::Scalar,
            QueryValue::String(..) => ValueType::String,
            QueryValue::Vector(_) => ValueType::Vector,
            QueryValue::Matrix(_) => ValueType::Matrix,
        }
    }
}
