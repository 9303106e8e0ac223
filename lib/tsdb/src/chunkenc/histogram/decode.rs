//! Reading histogram chunks.

use std::marker::PhantomData;

use cairn_model::histogram::MAX_EXPONENTIAL_SCHEMA;
use cairn_model::{CounterResetHint, FloatHistogram, Histogram, TimestampMs, Value, is_stale};

use super::super::Malformed;
use super::super::bits::BitReader;
use super::super::varbit::{XorWindow, read_int, read_uint, read_xor};
use super::counts::{Counts, FloatCounts, IntCounts, Plain};
use super::layout::Layout;
use super::reduce::reduce_side;
use super::spans::bucket_count;
use super::{HEADER_BYTES, ResetHeader};

/// Reads a histogram chunk sample by sample.
#[derive(Debug, Clone)]
pub struct HistogramReader<'a, C: ReadCounts> {
    r: BitReader<'a>,
    header: ResetHeader,
    samples: u16,
    read: u16,
    layout: Layout,
    t: TimestampMs,
    t_delta: i64,
    state: C::State,
    kind: PhantomData<C>,
}

/// How the numbers of a kind are read.
pub trait ReadCounts: Counts {
    /// What the next sample is read against.
    type State: std::fmt::Debug + Clone + Default;
    /// Least bits of one bucket of a chunk's first sample.
    const FIRST_BUCKET_BITS: usize;

    /// Reads the first sample's numbers.
    fn read_first(r: &mut BitReader<'_>, positive: usize, negative: usize) -> Result<Self::State, Malformed>;
    /// Reads the next sample's numbers.
    fn read_next(state: &mut Self::State, r: &mut BitReader<'_>) -> Result<(), Malformed>;
    /// The numbers of the sample read last.
    fn numbers(state: &Self::State) -> Plain<Self>;
    /// The model's histogram; the layout of a stale marker is not looked at.
    fn sample(state: &Self::State, layout: &Layout, hint: CounterResetHint) -> Self::Sample;
}

impl<'a, C: ReadCounts> HistogramReader<'a, C> {
    /// Reads the header of `chunk`; the layout is read with the first sample.
    ///
    /// # Errors
    /// [`Malformed`] when the chunk is shorter than its sample count needs.
    pub fn new(chunk: &'a [u8]) -> Result<Self, Malformed> {
        let (header, stream) = chunk
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(Malformed { what: "chunk without a header", at: chunk.len() })?;
        let samples = u16::from_be_bytes([header[0], header[1]]);
        // Layout and first sample take more than 8 bytes, any other sample four bits at least.
        if samples > 0 && stream.len() * 8 < 64 + usize::from(samples - 1) * 4 {
            return Err(Malformed { what: "chunk is too short for its sample count", at: chunk.len() });
        }
        Ok(HistogramReader {
            r: BitReader::new(stream),
            header: ResetHeader::from_flags(header[2]),
            samples,
            read: 0,
            layout: Layout::default(),
            t: 0,
            t_delta: 0,
            state: C::State::default(),
            kind: PhantomData,
        })
    }

    /// Samples not read yet.
    pub fn remaining(&self) -> usize {
        usize::from(self.samples - self.read)
    }

    /// The chunk's header.
    pub fn header(&self) -> ResetHeader {
        self.header
    }

    /// The next sample; `None` after the last. Schemas finer than 8 are reduced to 8.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no histogram chunk.
    pub fn read(&mut self) -> Result<Option<(TimestampMs, C::Sample)>, Malformed> {
        if !self.advance()? {
            return Ok(None);
        }
        // Whether the first sample of a chunk follows a reset depends on chunks that may be gone.
        let hint = match (self.header, self.read) {
            (ResetHeader::Gauge, _) => CounterResetHint::Gauge,
            (_, 1) => CounterResetHint::Unknown,
            _ => CounterResetHint::NotReset,
        };
        Ok(Some((self.t, C::sample(&self.state, &self.layout, hint))))
    }

    /// The chunk's layout; known when a sample was read.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The next sample's bare numbers, in the chunk's own layout.
    pub(super) fn read_plain(&mut self) -> Result<Option<(TimestampMs, Plain<C>)>, Malformed> {
        Ok(self.advance()?.then(|| (self.t, C::numbers(&self.state))))
    }

    fn advance(&mut self) -> Result<bool, Malformed> {
        if self.read == self.samples {
            return Ok(false);
        }
        self.advance_in_stream().map_err(|m| m.shifted(HEADER_BYTES))?;
        self.read += 1;
        Ok(true)
    }

    fn advance_in_stream(&mut self) -> Result<(), Malformed> {
        if self.read == 0 {
            self.layout = Layout::read(&mut self.r)?;
            self.t = read_int(&mut self.r)?;
            let (positive, negative) =
                (bucket_count(&self.layout.positive), bucket_count(&self.layout.negative));
            if (positive + negative) * C::FIRST_BUCKET_BITS > self.r.remaining_bits() {
                return Err(self.r.malformed("more buckets than the chunk can hold"));
            }
            self.state = C::read_first(&mut self.r, positive, negative)?;
            return Ok(());
        }
        self.t_delta = self.t_delta.wrapping_add(read_int(&mut self.r)?);
        self.t = self.t.wrapping_add(self.t_delta);
        C::read_next(&mut self.state, &mut self.r)
    }
}

/// Where an integer chunk's reader stands.
#[derive(Debug, Clone)]
pub struct IntState {
    count: u64,
    count_delta: i64,
    zero_count: u64,
    zero_delta: i64,
    sum: u64,
    sum_window: XorWindow,
    /// Inter-bucket delta and its last change.
    positive: Vec<(i64, i64)>,
    negative: Vec<(i64, i64)>,
}

impl Default for IntState {
    fn default() -> Self {
        IntState {
            count: 0,
            count_delta: 0,
            zero_count: 0,
            zero_delta: 0,
            sum: 0,
            sum_window: XorWindow::ALL,
            positive: Vec::new(),
            negative: Vec::new(),
        }
    }
}

impl ReadCounts for IntCounts {
    type State = IntState;
    const FIRST_BUCKET_BITS: usize = 1;

    fn read_first(r: &mut BitReader<'_>, positive: usize, negative: usize) -> Result<IntState, Malformed> {
        let (count, zero_count, sum) = (read_uint(r)?, read_uint(r)?, r.read(64)?);
        let mut side = |n| (0..n).map(|_| Ok((read_int(r)?, 0))).collect::<Result<Vec<_>, Malformed>>();
        let (positive, negative) = (side(positive)?, side(negative)?);
        Ok(IntState { count, zero_count, sum, positive, negative, ..IntState::default() })
    }

    fn read_next(s: &mut IntState, r: &mut BitReader<'_>) -> Result<(), Malformed> {
        for (total, delta) in [(&mut s.count, &mut s.count_delta), (&mut s.zero_count, &mut s.zero_delta)] {
            *delta = delta.wrapping_add(read_int(r)?);
            *total = total.wrapping_add(*delta as u64);
        }
        s.sum ^= read_xor(r, &mut s.sum_window)?;
        if is_stale(f64::from_bits(s.sum)) {
            return Ok(());
        }
        for (inner, change) in s.positive.iter_mut().chain(&mut s.negative) {
            *change = change.wrapping_add(read_int(r)?);
            *inner = inner.wrapping_add(*change);
        }
        Ok(())
    }

    fn numbers(s: &IntState) -> Plain<Self> {
        let absolute = |side: &[(i64, i64)]| {
            let mut n = 0i64;
            side.iter()
                .map(|(d, _)| {
                    n = n.wrapping_add(*d);
                    n
                })
                .collect()
        };
        Plain {
            count: s.count,
            zero_count: s.zero_count,
            sum: f64::from_bits(s.sum),
            positive: absolute(&s.positive),
            negative: absolute(&s.negative),
        }
    }

    fn sample(s: &IntState, layout: &Layout, hint: CounterResetHint) -> Histogram {
        let sum = f64::from_bits(s.sum);
        if is_stale(sum) {
            return Histogram { sum, ..Histogram::default() };
        }
        let inner = |side: &[(i64, i64)]| side.iter().map(|(d, _)| *d).collect::<Vec<i64>>();
        let mut h = Histogram {
            reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: s.zero_count,
            count: s.count,
            sum,
            positive_spans: layout.positive.clone(),
            negative_spans: layout.negative.clone(),
            positive_buckets: inner(&s.positive),
            negative_buckets: inner(&s.negative),
            custom_values: layout.custom_values.clone(),
        };
        if h.schema > MAX_EXPONENTIAL_SCHEMA {
            let by = (h.schema - MAX_EXPONENTIAL_SCHEMA) as u32;
            for (spans, deltas) in [
                (&mut h.positive_spans, &mut h.positive_buckets),
                (&mut h.negative_spans, &mut h.negative_buckets),
            ] {
                let (reduced, counts) =
                    reduce_side(spans, &super::counts::absolute(deltas), by, i64::wrapping_add);
                *spans = reduced;
                let mut before = 0i64;
                *deltas =
                    counts.into_iter().map(|n| n.wrapping_sub(std::mem::replace(&mut before, n))).collect();
            }
            h.schema = MAX_EXPONENTIAL_SCHEMA;
        }
        h
    }
}

/// Where a float chunk's reader stands.
#[derive(Debug, Clone, Default)]
pub struct FloatState {
    /// Bits and window of count, zero count, sum, then all buckets.
    fields: Vec<(u64, XorWindow)>,
    positive: usize,
}

/// Count, zero count and sum come before the buckets.
const FLOAT_HEAD: usize = 3;

impl ReadCounts for FloatCounts {
    type State = FloatState;
    const FIRST_BUCKET_BITS: usize = 64;

    fn read_first(r: &mut BitReader<'_>, positive: usize, negative: usize) -> Result<FloatState, Malformed> {
        let fields = (0..FLOAT_HEAD + positive + negative)
            .map(|_| Ok((r.read(64)?, XorWindow::ALL)))
            .collect::<Result<Vec<_>, Malformed>>()?;
        Ok(FloatState { fields, positive })
    }

    fn read_next(s: &mut FloatState, r: &mut BitReader<'_>) -> Result<(), Malformed> {
        let (head, buckets) = s.fields.split_at_mut(FLOAT_HEAD);
        for (bits, window) in head.iter_mut() {
            *bits ^= read_xor(r, window)?;
        }
        if is_stale(f64::from_bits(head[2].0)) {
            return Ok(());
        }
        for (bits, window) in buckets {
            *bits ^= read_xor(r, window)?;
        }
        Ok(())
    }

    fn numbers(s: &FloatState) -> Plain<Self> {
        let v: Vec<f64> = s.fields.iter().map(|(bits, _)| f64::from_bits(*bits)).collect();
        let (positive, negative) = v[FLOAT_HEAD..].split_at(s.positive);
        Plain {
            count: v[0],
            zero_count: v[1],
            sum: v[2],
            positive: positive.to_vec(),
            negative: negative.to_vec(),
        }
    }

    fn sample(s: &FloatState, layout: &Layout, hint: CounterResetHint) -> FloatHistogram {
        let Plain { count, zero_count, sum, positive, negative } = Self::numbers(s);
        if is_stale(sum) {
            return FloatHistogram { sum, ..FloatHistogram::default() };
        }
        let mut h = FloatHistogram {
            reset_hint: hint,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count,
            count,
            sum,
            positive_spans: layout.positive.clone(),
            negative_spans: layout.negative.clone(),
            positive_buckets: positive,
            negative_buckets: negative,
            custom_values: layout.custom_values.clone(),
        };
        if h.schema > MAX_EXPONENTIAL_SCHEMA {
            let by = (h.schema - MAX_EXPONENTIAL_SCHEMA) as u32;
            for (spans, counts) in [
                (&mut h.positive_spans, &mut h.positive_buckets),
                (&mut h.negative_spans, &mut h.negative_buckets),
            ] {
                (*spans, *counts) = reduce_side(spans, counts, by, |a, b| a + b);
            }
            h.schema = MAX_EXPONENTIAL_SCHEMA;
        }
        h
    }
}

/// A reader of either kind, giving model values.
#[derive(Debug, Clone)]
pub enum AnyHistogramReader<'a> {
    /// Encoding 2.
    Int(HistogramReader<'a, IntCounts>),
    /// Encoding 3.
    Float(HistogramReader<'a, FloatCounts>),
}

impl AnyHistogramReader<'_> {
    /// Samples not read yet.
    pub fn remaining(&self) -> usize {
        match self {
            AnyHistogramReader::Int(r) => r.remaining(),
            AnyHistogramReader::Float(r) => r.remaining(),
        }
    }

    /// The next sample; `None` after the last.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no histogram chunk.
    pub fn read(&mut self) -> Result<Option<(TimestampMs, Value)>, Malformed> {
        Ok(match self {
            AnyHistogramReader::Int(r) => r.read()?.map(|(t, h)| (t, IntCounts::into_value(h))),
            AnyHistogramReader::Float(r) => r.read()?.map(|(t, h)| (t, FloatCounts::into_value(h))),
        })
    }
}
