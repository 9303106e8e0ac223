//! One value at one time.

use std::sync::Arc;

use crate::histogram::{FloatHistogram, Histogram};

/// Milliseconds since the Unix epoch.
pub type TimestampMs = i64;

/// Bits of Prometheus' stale marker. Compare bits, never values: every NaN is unequal to itself.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Bits of the NaN that Prometheus writes for an ordinary not-a-number.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The stale marker as a float.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `v` is the stale marker.
pub fn is_stale(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// What a sample holds.
#[derive(Debug, Clone)]
pub enum Value {
    /// A float, perhaps the stale marker.
    Float(f64),
    /// A native histogram with integer counts.
    Histogram(Arc<Histogram>),
    /// A native histogram with float counts.
    FloatHistogram(Arc<FloatHistogram>),
}

impl Value {
    /// Whether this is a stale marker of any kind.
    pub fn is_stale(&self) -> bool {
        match self {
            Value::Float(v) => is_stale(*v),
            Value::Histogram(h) => is_stale(h.sum),
            Value::FloatHistogram(h) => is_stale(h.sum),
        }
    }

    /// Whether this is a histogram of either kind.
    pub fn is_histogram(&self) -> bool {
        !matches!(self, Value::Float(_))
    }
}

/// Bitwise equality: NaNs of the same bits are equal, `0.0` and `-0.0` are not.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::Histogram(a), Value::Histogram(b)) => a.bits_eq(b),
            (Value::FloatHistogram(a), Value::FloatHistogram(b)) => a.bits_eq(b),
            _ => false,
        }
    }
}

/// A value with its time; `start_ms` is 0 when unknown.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When the value was taken.
    pub t_ms: TimestampMs,
    /// Start timestamp of a cumulative value, 0 = unknown.
    pub start_ms: TimestampMs,
    /// The value.
    pub value: Value,
}
