//! From samples to chunks: picks the encoding by the kind of value and cuts by size, time and layout.

use bytes::Bytes;
use cairn_model::chunk::{ColumnValues, Columns};
use cairn_model::{Chunk, ChunkData, Encoding, TimestampMs, Value};

use super::histogram::append::Appended;
use super::histogram::decode::ReadCounts;
use super::histogram::{FloatCounts, HistogramAppender, IntCounts};
use super::{Xor2Appender, XorAppender};

/// When chunks are cut, and which float encoding is written.
#[derive(Debug, Clone, Copy)]
pub struct CutRule {
    /// Most samples of a chunk. Prometheus aims at 120, and Thanos counts with it.
    pub max_samples: usize,
    /// A histogram chunk of at least [`CutRule::min_histograms`] samples is cut at this size, as Prometheus does.
    pub histogram_bytes: usize,
    /// Fewest samples of a histogram chunk that is cut for its size.
    pub min_histograms: usize,
    /// No chunk spans a multiple of this, 0 = no limit.
    pub window_ms: i64,
    /// Whether floats are written as XOR2, which keeps start timestamps and which Thanos cannot read.
    pub xor2: bool,
}

impl Default for CutRule {
    fn default() -> Self {
        CutRule { max_samples: 120, histogram_bytes: 1024, min_histograms: 10, window_ms: 0, xor2: false }
    }
}

/// Takes samples in order of time and gives finished chunks.
#[derive(Debug)]
pub struct ChunkBuilder {
    rule: CutRule,
    open: Option<Open>,
    done: Vec<Chunk>,
}

#[derive(Debug)]
struct Open {
    min_ms: TimestampMs,
    max_ms: TimestampMs,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Xor(Vec<u8>, XorAppender),
    Xor2(Vec<u8>, Xor2Appender),
    Int(Box<HistogramAppender<IntCounts>>),
    Float(Box<HistogramAppender<FloatCounts>>),
}

impl ChunkBuilder {
    /// An empty builder.
    pub fn new(rule: CutRule) -> Self {
        assert!((1..=usize::from(u16::MAX)).contains(&rule.max_samples), "a chunk holds 1 to 65,535 samples");
        ChunkBuilder { rule, open: None, done: Vec::new() }
    }

    /// Adds a sample. Times must increase from call to call.
    ///
    /// # Panics
    /// When spans and buckets of a histogram disagree: callers validate.
    pub fn push(&mut self, t_ms: TimestampMs, start_ms: TimestampMs, value: &Value) {
        match value {
            Value::Float(v) => self.push_float(t_ms, start_ms, *v),
            Value::Histogram(h) => self.push_histogram::<IntCounts>(t_ms, h),
            Value::FloatHistogram(h) => self.push_histogram::<FloatCounts>(t_ms, h),
        }
    }

    /// Adds columns of floats of equal length, without start timestamps.
    pub fn push_floats(&mut self, t_ms: &[TimestampMs], values: &[f64]) {
        if self.rule.xor2 {
            t_ms.iter().zip(values).for_each(|(t, v)| self.push_float(*t, 0, *v));
            return;
        }
        let mut at = 0;
        while at < t_ms.len() {
            self.make_room(t_ms[at], |k| matches!(k, Kind::Xor(..)));
            let room = self.rule.max_samples - self.open.as_ref().map_or(0, |o| o.kind.samples());
            let edge = self.edge_after(t_ms[at]);
            let within = t_ms[at..].iter().take(room).take_while(|t| **t < edge).count();
            let end = at + within;
            let open = self.open.get_or_insert_with(|| Open::xor(t_ms[at]));
            if let Kind::Xor(bytes, appender) = &mut open.kind {
                appender.append(bytes, &t_ms[at..end], &values[at..end]);
            }
            open.max_ms = t_ms[end - 1];
            at = end;
        }
    }

    /// Adds columns of any kind.
    pub fn push_columns(&mut self, columns: &Columns) {
        let start = |i: usize| columns.start_ms.get(i).copied().unwrap_or(0);
        match &columns.values {
            ColumnValues::Floats(values) if columns.start_ms.is_empty() => {
                self.push_floats(&columns.t_ms, values)
            }
            ColumnValues::Floats(values) => {
                let rows = columns.t_ms.iter().zip(values).enumerate();
                rows.for_each(|(i, (t, v))| self.push_float(*t, start(i), *v));
            }
            ColumnValues::Mixed(values) => {
                let rows = columns.t_ms.iter().zip(values).enumerate();
                rows.for_each(|(i, (t, v))| self.push(*t, start(i), v));
            }
        }
    }

    /// Chunks finished so far; the builder forgets them.
    pub fn take_finished(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.done)
    }

    /// Closes the open chunk and gives all that were not taken yet.
    pub fn finish(mut self) -> Vec<Chunk> {
        self.close();
        self.done
    }

    fn push_float(&mut self, t_ms: TimestampMs, start_ms: TimestampMs, v: f64) {
        let xor2 = self.rule.xor2;
        self.make_room(t_ms, |k| match k {
            Kind::Xor(..) => !xor2,
            Kind::Xor2(..) => xor2,
            _ => false,
        });
        let open = self.open.get_or_insert_with(|| if xor2 { Open::xor2(t_ms) } else { Open::xor(t_ms) });
        match &mut open.kind {
            Kind::Xor(bytes, appender) => appender.append(bytes, &[t_ms], &[v]),
            Kind::Xor2(bytes, appender) => appender.append(bytes, t_ms, start_ms, v),
            _ => unreachable!("make_room() leaves an open chunk only if it takes floats"),
        }
        open.max_ms = t_ms;
    }

    fn push_histogram<C: OfKind>(&mut self, t_ms: TimestampMs, sample: &C::Sample) {
        let before = self.make_room(t_ms, |k| C::appender(k).is_some());
        let next = match self.open.as_mut().and_then(|o| C::appender_mut(&mut o.kind)) {
            Some(open) => open.append(t_ms, sample),
            None => {
                let before = before.as_ref().and_then(C::appender);
                Appended::NewChunk(Box::new(HistogramAppender::start(before, t_ms, sample)))
            }
        };
        if let Appended::NewChunk(next) = next {
            self.close();
            self.open = Some(Open { min_ms: t_ms, max_ms: t_ms, kind: C::wrap(next) });
        } else if let Some(open) = &mut self.open {
            open.max_ms = t_ms;
        }
    }

    /// Closes the open chunk when it is full, of another kind, or ends before `t_ms`'s window. Gives what it was,
    /// so that the next chunk of the same kind knows what it follows.
    fn make_room(&mut self, t_ms: TimestampMs, same_kind: impl Fn(&Kind) -> bool) -> Option<Kind> {
        let open = self.open.as_ref()?;
        let full = match &open.kind {
            Kind::Int(h) => self.rule.histogram_full(h.samples(), h.bytes().len()),
            Kind::Float(h) => self.rule.histogram_full(h.samples(), h.bytes().len()),
            floats => floats.samples() >= self.rule.max_samples,
        };
        if full || !same_kind(&open.kind) || t_ms >= self.edge_after(open.min_ms) {
            return self.close();
        }
        None
    }

    fn close(&mut self) -> Option<Kind> {
        let open = self.open.take()?;
        let (encoding, bytes) = match &open.kind {
            Kind::Xor(bytes, _) => (Encoding::Xor, Bytes::copy_from_slice(bytes)),
            Kind::Xor2(bytes, _) => (Encoding::Xor2, Bytes::copy_from_slice(bytes)),
            Kind::Int(h) => (Encoding::Histogram, Bytes::copy_from_slice(h.bytes())),
            Kind::Float(h) => (Encoding::FloatHistogram, Bytes::copy_from_slice(h.bytes())),
        };
        self.done.push(Chunk {
            min_ms: open.min_ms,
            max_ms: open.max_ms,
            data: ChunkData::Encoded(encoding, bytes),
        });
        Some(open.kind)
    }

    /// First time that is outside the window of `t_ms`.
    fn edge_after(&self, t_ms: TimestampMs) -> TimestampMs {
        match self.rule.window_ms {
            0 => TimestampMs::MAX,
            w => t_ms.div_euclid(w).saturating_add(1).saturating_mul(w),
        }
    }
}

impl CutRule {
    fn histogram_full(&self, samples: usize, bytes: usize) -> bool {
        samples >= self.max_samples || (bytes >= self.histogram_bytes && samples >= self.min_histograms)
    }
}

impl Open {
    fn xor(t_ms: TimestampMs) -> Self {
        let mut bytes = Vec::with_capacity(512);
        let appender = XorAppender::start(&mut bytes);
        Open { min_ms: t_ms, max_ms: t_ms, kind: Kind::Xor(bytes, appender) }
    }

    fn xor2(t_ms: TimestampMs) -> Self {
        let mut bytes = Vec::with_capacity(512);
        let appender = Xor2Appender::start(&mut bytes);
        Open { min_ms: t_ms, max_ms: t_ms, kind: Kind::Xor2(bytes, appender) }
    }
}

impl Kind {
    fn samples(&self) -> usize {
        match self {
            Kind::Xor(_, a) => a.samples(),
            Kind::Xor2(_, a) => a.samples(),
            Kind::Int(h) => h.samples(),
            Kind::Float(h) => h.samples(),
        }
    }
}

/// Joins a kind of histogram counts with its variant of [`Kind`].
trait OfKind: ReadCounts {
    fn wrap(appender: Box<HistogramAppender<Self>>) -> Kind;
    fn appender(kind: &Kind) -> Option<&HistogramAppender<Self>>;
    fn appender_mut(kind: &mut Kind) -> Option<&mut HistogramAppender<Self>>;
}

impl OfKind for IntCounts {
    fn wrap(appender: Box<HistogramAppender<Self>>) -> Kind {
        Kind::Int(appender)
    }

    fn appender(kind: &Kind) -> Option<&HistogramAppender<Self>> {
        if let Kind::Int(a) = kind { Some(a) } else { None }
    }

    fn appender_mut(kind: &mut Kind) -> Option<&mut HistogramAppender<Self>> {
        if let Kind::Int(a) = kind { Some(a) } else { None }
    }
}

impl OfKind for FloatCounts {
    fn wrap(appender: Box<HistogramAppender<Self>>) -> Kind {
        Kind::Float(appender)
    }

    fn appender(kind: &Kind) -> Option<&HistogramAppender<Self>> {
        if let Kind::Float(a) = kind { Some(a) } else { None }
    }

    fn appender_mut(kind: &mut Kind) -> Option<&mut HistogramAppender<Self>> {
        if let Kind::Float(a) = kind { Some(a) } else { None }
    }
}

#[cfg(test)]
mod tests;
