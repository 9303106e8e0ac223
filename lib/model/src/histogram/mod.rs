//! Native histograms with integer and float counts.
//!
//! Layout as in Prometheus: populated buckets are described by spans (gap to the previous span's end, length);
//! integer histograms store each bucket as a delta to the one before, float histograms absolute counts.
//! Schema −4…8 is exponential, −53 has explicit upper bounds in `custom_values` (the last bucket, +Inf, is
//! implicit). Source: reference of Prometheus 3.14's `model/histogram`.
//!
//! Here are the types and their validation. What is done with float histograms: [`bounds`] and [`buckets`] say
//! where buckets lie, [`ops`] adds and scales, [`reset`] finds counter resets, [`quantile`] estimates, [`trim`]
//! cuts, [`display`] prints. Layouts are trusted there: validate what comes from outside.

pub mod bounds;
pub mod buckets;
pub mod display;
pub mod ops;
pub mod quantile;
pub mod reduce;
pub mod reset;
pub mod trim;

#[cfg(test)]
mod tests;

pub use buckets::Bucket;
pub use ops::{HistogramSum, IncompatibleSchemas, Reconciled};
pub use quantile::NanNote;
pub use trim::Keep;

/// Schema of histograms with custom bucket bounds.
pub const CUSTOM_BUCKETS_SCHEMA: i32 = -53;
/// Finest exponential schema that is stored.
pub const MAX_EXPONENTIAL_SCHEMA: i32 = 8;
/// Coarsest exponential schema.
pub const MIN_EXPONENTIAL_SCHEMA: i32 = -4;
/// Finest exponential schema that is accepted; above [`MAX_EXPONENTIAL_SCHEMA`] it is reduced on ingestion.
pub const MAX_ACCEPTED_SCHEMA: i32 = 52;
/// Coarsest schema number that is accepted on read.
pub const MIN_ACCEPTED_SCHEMA: i32 = -9;

/// A run of populated buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Index of the first bucket for the first span, else the gap to the end of the span before (≥ 0).
    pub offset: i32,
    /// How many buckets follow one another.
    pub length: u32,
}

/// What is known about a counter reset before this histogram. The numbers are those of remote write and WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum CounterResetHint {
    /// Nothing is known.
    #[default]
    Unknown = 0,
    /// There was a reset.
    Reset = 1,
    /// There was none.
    NotReset = 2,
    /// A gauge histogram: resets have no meaning.
    Gauge = 3,
}

impl CounterResetHint {
    /// The hint of a wire number; unknown numbers become [`CounterResetHint::Unknown`].
    pub fn from_wire(n: u64) -> Self {
        match n {
            1 => CounterResetHint::Reset,
            2 => CounterResetHint::NotReset,
            3 => CounterResetHint::Gauge,
            _ => CounterResetHint::Unknown,
        }
    }
}

/// A native histogram with integer counts; buckets are deltas.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// See [`CounterResetHint`].
    pub reset_hint: CounterResetHint,
    /// −4…8, or −53.
    pub schema: i32,
    /// Width of the zero bucket on either side.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: u64,
    /// All observations.
    pub count: u64,
    /// Sum of all observations; the stale marker's bits make the whole histogram a stale marker.
    pub sum: f64,
    /// Layout of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Layout of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Positive buckets, each a delta to the one before.
    pub positive_buckets: Vec<i64>,
    /// Negative buckets, each a delta to the one before.
    pub negative_buckets: Vec<i64>,
    /// Upper bounds, for schema −53 only.
    pub custom_values: Vec<f64>,
}

/// A native histogram with float counts; buckets are absolute.
#[derive(Debug, Clone, Default)]
pub struct FloatHistogram {
    /// See [`CounterResetHint`].
    pub reset_hint: CounterResetHint,
    /// −4…8, or −53.
    pub schema: i32,
    /// Width of the zero bucket on either side.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations; the stale marker's bits make the whole histogram a stale marker.
    pub sum: f64,
    /// Layout of the positive buckets.
    pub positive_spans: Vec<Span>,
    /// Layout of the negative buckets.
    pub negative_spans: Vec<Span>,
    /// Positive buckets, absolute counts.
    pub positive_buckets: Vec<f64>,
    /// Negative buckets, absolute counts.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds, for schema −53 only.
    pub custom_values: Vec<f64>,
}

/// What makes a histogram invalid; texts as users of Prometheus know them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum InvalidHistogram {
    #[error(
        "histogram has an invalid schema, which must be between -4 and 8 for exponential buckets, or -53 for custom buckets, got {0}"
    )]
    Schema(i32),
    #[error(
        "{side} side: span number {number} with offset {offset}: histogram has a span whose offset is negative"
    )]
    NegativeSpanOffset { side: &'static str, number: usize, offset: i32 },
    #[error(
        "{side} side: spans need {need} buckets, have {have} buckets: histogram spans specify different number of buckets than provided"
    )]
    SpansMismatch { side: &'static str, need: u64, have: usize },
    #[error(
        "{side} side: bucket number {number} has observation count of {count}: histogram has a bucket whose observation count is negative"
    )]
    NegativeBucket { side: &'static str, number: usize, count: f64 },
    #[error(
        "{have} observations found in buckets, but the Count field is {want}: histogram's observation count should equal the number of observations found in the buckets"
    )]
    CountMismatch { have: u64, want: u64 },
    #[error(
        "{have} observations found in buckets, but the Count field is {want}: histogram's observation count should be at least the number of observations found in the buckets"
    )]
    CountNotBigEnough { have: u64, want: u64 },
    #[error("histogram has a negative count, zero bucket or threshold: {0}")]
    NegativeField(f64),
    #[error("custom buckets: histogram custom bounds must be finite and strictly increasing")]
    CustomBounds,
    #[error(
        "custom buckets: {0} buckets need {1} bounds at least: histogram custom buckets do not match its bounds"
    )]
    CustomBucketsMismatch(u64, u64),
    #[error("custom buckets: must have zero count of 0, no zero threshold and no negative buckets")]
    CustomBucketsShape,
    #[error("histogram with exponential schema must not have custom bounds")]
    ExponentialWithBounds,
}

impl Histogram {
    /// Whether the two are the same to the bit, hint included.
    pub fn bits_eq(&self, o: &Self) -> bool {
        self.reset_hint == o.reset_hint
            && self.schema == o.schema
            && self.zero_threshold.to_bits() == o.zero_threshold.to_bits()
            && self.zero_count == o.zero_count
            && self.count == o.count
            && self.sum.to_bits() == o.sum.to_bits()
            && self.positive_spans == o.positive_spans
            && self.negative_spans == o.negative_spans
            && self.positive_buckets == o.positive_buckets
            && self.negative_buckets == o.negative_buckets
            && bits_eq(&self.custom_values, &o.custom_values)
    }

    /// Whether this is a stale marker.
    pub fn is_stale(&self) -> bool {
        crate::sample::is_stale(self.sum)
    }

    /// The same histogram with absolute float buckets.
    pub fn to_float(&self) -> FloatHistogram {
        FloatHistogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count as f64,
            count: self.count as f64,
            sum: self.sum,
            positive_spans: self.positive_spans.clone(),
            negative_spans: self.negative_spans.clone(),
            positive_buckets: absolute(&self.positive_buckets),
            negative_buckets: absolute(&self.negative_buckets),
            custom_values: self.custom_values.clone(),
        }
    }

    /// Checks all rules of Prometheus' ingestion. A stale marker is always valid.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.is_stale() {
            return Ok(());
        }
        let positive = deltas_sum("positive", &self.positive_buckets)?;
        let negative = deltas_sum("negative", &self.negative_buckets)?;
        let zero = self.zero_count as f64;
        check_shape(Shape {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: zero,
            positive: (&self.positive_spans, self.positive_buckets.len()),
            negative: (&self.negative_spans, self.negative_buckets.len()),
            custom_values: &self.custom_values,
        })?;
        let have = positive.saturating_add(negative).saturating_add(self.zero_count);
        // NaN observations count but fall into no bucket, so a NaN sum allows the count to be larger.
        if self.sum.is_nan() {
            if have > self.count {
                return Err(InvalidHistogram::CountNotBigEnough { have, want: self.count });
            }
        } else if have != self.count {
            return Err(InvalidHistogram::CountMismatch { have, want: self.count });
        }
        Ok(())
    }
}

impl FloatHistogram {
    /// Whether the two are the same to the bit, hint included.
    pub fn bits_eq(&self, o: &Self) -> bool {
        self.reset_hint == o.reset_hint
            && self.schema == o.schema
            && self.zero_threshold.to_bits() == o.zero_threshold.to_bits()
            && self.zero_count.to_bits() == o.zero_count.to_bits()
            && self.count.to_bits() == o.count.to_bits()
            && self.sum.to_bits() == o.sum.to_bits()
            && self.positive_spans == o.positive_spans
            && self.negative_spans == o.negative_spans
            && bits_eq(&self.positive_buckets, &o.positive_buckets)
            && bits_eq(&self.negative_buckets, &o.negative_buckets)
            && bits_eq(&self.custom_values, &o.custom_values)
    }

    /// Whether this is a stale marker.
    pub fn is_stale(&self) -> bool {
        crate::sample::is_stale(self.sum)
    }

    /// Checks all rules of Prometheus' ingestion; float counts need not add up. A stale marker is always valid.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidHistogram> {
        if self.is_stale() {
            return Ok(());
        }
        for (side, buckets) in [("positive", &self.positive_buckets), ("negative", &self.negative_buckets)] {
            if let Some((number, &count)) = buckets.iter().enumerate().find(|(_, c)| **c < 0.0) {
                return Err(InvalidHistogram::NegativeBucket { side, number: number + 1, count });
            }
        }
        if self.count < 0.0 {
            return Err(InvalidHistogram::NegativeField(self.count));
        }
        check_shape(Shape {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count,
            positive: (&self.positive_spans, self.positive_buckets.len()),
            negative: (&self.negative_spans, self.negative_buckets.len()),
            custom_values: &self.custom_values,
        })
    }
}

struct Shape<'a> {
    schema: i32,
    zero_threshold: f64,
    zero_count: f64,
    positive: (&'a [Span], usize),
    negative: (&'a [Span], usize),
    custom_values: &'a [f64],
}

fn check_shape(s: Shape<'_>) -> Result<(), InvalidHistogram> {
    check_spans("negative", s.negative.0, s.negative.1)?;
    let needed = check_spans("positive", s.positive.0, s.positive.1)?;
    if s.zero_count < 0.0 || s.zero_threshold < 0.0 || s.zero_threshold.is_nan() {
        return Err(InvalidHistogram::NegativeField(s.zero_count.min(s.zero_threshold)));
    }
    if s.schema == CUSTOM_BUCKETS_SCHEMA {
        let ordered = s.custom_values.windows(2).all(|w| w[0] < w[1]);
        if !ordered || s.custom_values.iter().any(|v| !v.is_finite()) {
            return Err(InvalidHistogram::CustomBounds);
        }
        if s.zero_count != 0.0 || s.zero_threshold != 0.0 || !s.negative.0.is_empty() || s.negative.1 != 0 {
            return Err(InvalidHistogram::CustomBucketsShape);
        }
        let bounds = s.custom_values.len() as u64;
        if needed > bounds + 1 {
            return Err(InvalidHistogram::CustomBucketsMismatch(needed, needed - 1));
        }
        return Ok(());
    }
    if !(MIN_ACCEPTED_SCHEMA..=MAX_ACCEPTED_SCHEMA).contains(&s.schema) {
        return Err(InvalidHistogram::Schema(s.schema));
    }
    if !s.custom_values.is_empty() {
        return Err(InvalidHistogram::ExponentialWithBounds);
    }
    Ok(())
}

/// Checks spans against the number of buckets; gives the index just past the last bucket, from the first
/// span's offset if that is positive.
fn check_spans(side: &'static str, spans: &[Span], have: usize) -> Result<u64, InvalidHistogram> {
    let (mut need, mut end) = (0u64, 0i64);
    for (i, span) in spans.iter().enumerate() {
        if i > 0 && span.offset < 0 {
            return Err(InvalidHistogram::NegativeSpanOffset { side, number: i + 1, offset: span.offset });
        }
        need += u64::from(span.length);
        end += i64::from(span.offset) + i64::from(span.length);
    }
    if need != have as u64 {
        return Err(InvalidHistogram::SpansMismatch { side, need, have });
    }
    Ok(u64::try_from(end).unwrap_or(0))
}

fn deltas_sum(side: &'static str, deltas: &[i64]) -> Result<u64, InvalidHistogram> {
    let (mut current, mut sum) = (0i64, 0u64);
    for (i, d) in deltas.iter().enumerate() {
        current = current.checked_add(*d).unwrap_or(-1);
        if current < 0 {
            return Err(InvalidHistogram::NegativeBucket { side, number: i + 1, count: current as f64 });
        }
        sum = sum.saturating_add(current as u64);
    }
    Ok(sum)
}

fn absolute(deltas: &[i64]) -> Vec<f64> {
    let mut current = 0i64;
    deltas
        .iter()
        .map(|d| {
            current = current.wrapping_add(*d);
            current as f64
        })
        .collect()
}

fn bits_eq(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}
