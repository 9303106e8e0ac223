//! What differs between integer and float counts: how a sample's numbers are read from the model's types, and how
//! they are written into the bit stream.
//!
//! Buckets are absolute counts here, whatever the stream holds, so that comparing and widening is one code for
//! both kinds.

use std::fmt::Debug;
use std::sync::Arc;

use cairn_model::{CounterResetHint, Encoding, FloatHistogram, Histogram, Value, is_stale};

use super::super::bits::BitWriter;
use super::super::varbit::{XorWindow, write_int, write_uint, write_xor};
use super::ResetHeader;
use super::fit::Verdict;
use super::layout::Layout;

/// A kind of counts and how its chunks are written.
pub trait Counts: Debug + Clone + Default {
    /// The model's histogram of this kind.
    type Sample: Debug;
    /// The type of count and zero count.
    type Total: Debug + Copy + PartialOrd + Default;
    /// The type of an absolute bucket count.
    type Bucket: Debug + Copy + PartialOrd + Default;

    /// The chunk encoding.
    const ENCODING: Encoding;

    /// The numbers of a sample, buckets absolute.
    fn plain(sample: &Self::Sample) -> Plain<Self>;
    /// The layout of a sample.
    fn layout(sample: &Self::Sample) -> Layout;
    /// The hint of a sample.
    fn hint(sample: &Self::Sample) -> CounterResetHint;
    /// The sample in the model's value, if it is of this kind.
    fn from_value(value: &Value) -> Option<&Self::Sample>;
    /// Inverse of [`Counts::from_value`].
    fn into_value(sample: Self::Sample) -> Value;

    /// Writes the numbers of the first sample of a chunk, which `self` then knows.
    fn write_first(&mut self, w: &mut BitWriter<'_>, next: &Plain<Self>);
    /// Writes the numbers of a later sample against those of the one before.
    fn write_next(&mut self, w: &mut BitWriter<'_>, before: &Plain<Self>, next: &Plain<Self>);

    /// Header of a chunk begun because the open one refused a counter sample. Prometheus' two kinds differ.
    fn header_of_cut(verdict: Verdict) -> ResetHeader;
    /// Header of a chunk begun because the open one was full.
    fn header_of_full(verdict: Verdict) -> ResetHeader;
}

/// The numbers of a histogram sample.
#[derive(Debug, Clone, Default)]
pub struct Plain<C: Counts> {
    /// All observations.
    pub count: C::Total,
    /// Observations in the zero bucket.
    pub zero_count: C::Total,
    /// Sum of observations, or the stale marker.
    pub sum: f64,
    /// Absolute positive bucket counts.
    pub positive: Vec<C::Bucket>,
    /// Absolute negative bucket counts.
    pub negative: Vec<C::Bucket>,
}

/// Integer counts (encoding 2): varbit deltas of deltas.
#[derive(Debug, Clone, Default)]
pub struct IntCounts {
    count_delta: i64,
    zero_delta: i64,
    sum_window: XorWindow,
    /// For each bucket: its delta to the bucket before it, and the change of that delta at the last sample.
    positive: Vec<(i64, i64)>,
    negative: Vec<(i64, i64)>,
}

impl Counts for IntCounts {
    type Sample = Histogram;
    type Total = u64;
    type Bucket = i64;

    const ENCODING: Encoding = Encoding::Histogram;

    fn plain(h: &Histogram) -> Plain<Self> {
        if h.is_stale() {
            return Plain { sum: h.sum, ..Plain::default() };
        }
        Plain {
            count: h.count,
            zero_count: h.zero_count,
            sum: h.sum,
            positive: absolute(&h.positive_buckets),
            negative: absolute(&h.negative_buckets),
        }
    }

    fn layout(h: &Histogram) -> Layout {
        if h.is_stale() {
            return Layout::default();
        }
        Layout {
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            positive: h.positive_spans.clone(),
            negative: h.negative_spans.clone(),
            custom_values: h.custom_values.clone(),
        }
    }

    fn hint(h: &Histogram) -> CounterResetHint {
        h.reset_hint
    }

    fn from_value(value: &Value) -> Option<&Histogram> {
        match value {
            Value::Histogram(h) => Some(h),
            _ => None,
        }
    }

    fn into_value(h: Histogram) -> Value {
        Value::Histogram(Arc::new(h))
    }

    fn write_first(&mut self, w: &mut BitWriter<'_>, next: &Plain<Self>) {
        write_uint(w, next.count);
        write_uint(w, next.zero_count);
        w.write(next.sum.to_bits(), 64);
        for (state, buckets) in [(&mut self.positive, &next.positive), (&mut self.negative, &next.negative)] {
            *state = deltas(buckets).map(|d| (d, 0)).collect();
            for (d, _) in state {
                write_int(w, *d);
            }
        }
    }

    fn write_next(&mut self, w: &mut BitWriter<'_>, before: &Plain<Self>, next: &Plain<Self>) {
        let stale = is_stale(next.sum);
        for (delta, before, next) in [
            (&mut self.count_delta, before.count, next.count),
            (&mut self.zero_delta, before.zero_count, next.zero_count),
        ] {
            let d = next.wrapping_sub(before) as i64;
            write_int(w, if stale { 0 } else { d.wrapping_sub(*delta) });
            *delta = d;
        }
        write_xor(w, before.sum.to_bits() ^ next.sum.to_bits(), &mut self.sum_window);
        for (state, buckets) in [(&mut self.positive, &next.positive), (&mut self.negative, &next.negative)] {
            for ((inner, change), d) in state.iter_mut().zip(deltas(buckets)) {
                let c = d.wrapping_sub(*inner);
                write_int(w, c.wrapping_sub(*change));
                (*inner, *change) = (d, c);
            }
        }
    }

    fn header_of_cut(verdict: Verdict) -> ResetHeader {
        match verdict {
            Verdict::NotReset => ResetHeader::NotReset,
            Verdict::Reset => ResetHeader::Reset,
            Verdict::Unknown => ResetHeader::Unknown,
        }
    }

    fn header_of_full(verdict: Verdict) -> ResetHeader {
        Self::header_of_cut(verdict)
    }
}

/// Absolute counts of inter-bucket deltas.
pub fn absolute(deltas: &[i64]) -> Vec<i64> {
    let mut n = 0i64;
    deltas
        .iter()
        .map(|d| {
            n = n.wrapping_add(*d);
            n
        })
        .collect()
}

/// Inter-bucket deltas of absolute counts.
fn deltas(absolute: &[i64]) -> impl Iterator<Item = i64> + '_ {
    let mut before = 0i64;
    absolute.iter().map(move |&n| {
        let d = n.wrapping_sub(before);
        before = n;
        d
    })
}

/// Float counts (encoding 3): every field and bucket is an XOR stream with its own window.
#[derive(Debug, Clone, Default)]
pub struct FloatCounts {
    /// Of count, zero count, sum, then the buckets of both sides.
    windows: Vec<XorWindow>,
}

impl Counts for FloatCounts {
    type Sample = FloatHistogram;
    type Total = f64;
    type Bucket = f64;

    const ENCODING: Encoding = Encoding::FloatHistogram;

    fn plain(h: &FloatHistogram) -> Plain<Self> {
        if h.is_stale() {
            return Plain { sum: h.sum, ..Plain::default() };
        }
        Plain {
            count: h.count,
            zero_count: h.zero_count,
            sum: h.sum,
            positive: h.positive_buckets.clone(),
            negative: h.negative_buckets.clone(),
        }
    }

    fn layout(h: &FloatHistogram) -> Layout {
        if h.is_stale() {
            return Layout::default();
        }
        Layout {
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            positive: h.positive_spans.clone(),
            negative: h.negative_spans.clone(),
            custom_values: h.custom_values.clone(),
        }
    }

    fn hint(h: &FloatHistogram) -> CounterResetHint {
        h.reset_hint
    }

    fn from_value(value: &Value) -> Option<&FloatHistogram> {
        match value {
            Value::FloatHistogram(h) => Some(h),
            _ => None,
        }
    }

    fn into_value(h: FloatHistogram) -> Value {
        Value::FloatHistogram(Arc::new(h))
    }

    fn write_first(&mut self, w: &mut BitWriter<'_>, next: &Plain<Self>) {
        self.windows = fields(next).map(|_| XorWindow::NONE).collect();
        for v in fields(next) {
            w.write(v.to_bits(), 64);
        }
    }

    fn write_next(&mut self, w: &mut BitWriter<'_>, before: &Plain<Self>, next: &Plain<Self>) {
        // A stale sample has no buckets, and what it has of `before` ends with the fields that all samples have.
        for ((window, a), b) in self.windows.iter_mut().zip(fields(before)).zip(fields(next)) {
            write_xor(w, a.to_bits() ^ b.to_bits(), window);
        }
    }

    fn header_of_cut(verdict: Verdict) -> ResetHeader {
        match verdict {
            Verdict::Reset => ResetHeader::Reset,
            Verdict::NotReset | Verdict::Unknown => ResetHeader::Unknown,
        }
    }

    fn header_of_full(verdict: Verdict) -> ResetHeader {
        match verdict {
            Verdict::Reset => ResetHeader::Reset,
            Verdict::NotReset | Verdict::Unknown => ResetHeader::NotReset,
        }
    }
}

/// All numbers of a float sample in the order of the stream.
fn fields(p: &Plain<FloatCounts>) -> impl Iterator<Item = f64> + '_ {
    [p.count, p.zero_count, p.sum]
        .into_iter()
        .chain(p.positive.iter().copied())
        .chain(p.negative.iter().copied())
}
