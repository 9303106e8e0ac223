//! The decoded samples of one series, and how chunks become them.
//!
//! Decoding is a seam: the engine knows chunks in memory ([`ChunkData::Columns`]) and hands encoded ones to a
//! [`DecodeChunk`], which the storage engine provides. Buffers are reused from series to series.
//!
//! Invariant of a filled [`SampleBuf`]: times rise strictly within floats and within histograms, and start times
//! are there for all samples of a kind or for none. Stale markers are kept; who reads ranges removes them.
//!
//! This is a hot file: nothing is allocated per sample once the buffers have grown.

use std::sync::Arc;

use bytes::Bytes;
use cairn_model::chunk::{Aggregates, ColumnValues, Columns};
use cairn_model::sample::is_stale;
use cairn_model::{
    AggrChunk, Chunk, ChunkData, CounterResetHint, Encoding, FloatHistogram, TimestampMs, Value,
};

use super::downsampled::{self, Aggregate};

/// Decodes chunk payloads.
pub trait DecodeChunk: Send + Sync {
    /// Appends the samples of `data` to `out`, at least those with `min_ms <= t <= max_ms`. It may stop early
    /// behind `max_ms`.
    ///
    /// # Errors
    /// A message for the user when the payload is damaged; what was appended by then is discarded.
    fn decode(
        &self,
        encoding: Encoding,
        data: &Bytes,
        min_ms: TimestampMs,
        max_ms: TimestampMs,
        out: &mut SampleBuf,
    ) -> Result<(), String>;
}

/// Refuses encoded chunks: for tests and tools whose data is in columns.
pub struct ColumnsOnly;

impl DecodeChunk for ColumnsOnly {
    fn decode(
        &self,
        encoding: Encoding,
        _: &Bytes,
        _: TimestampMs,
        _: TimestampMs,
        _: &mut SampleBuf,
    ) -> Result<(), String> {
        Err(format!("no decoder for {encoding:?} chunks is wired into this engine"))
    }
}

/// Samples of one series, floats and histograms apart.
#[derive(Debug, Clone, Default)]
pub struct SampleBuf {
    /// Floats.
    pub floats: SampleColumn<f64>,
    /// Histograms; integer ones are converted when they are decoded.
    pub histograms: SampleColumn<Arc<FloatHistogram>>,
}

/// Samples of one kind as columns of equal length.
#[derive(Debug, Clone)]
pub struct SampleColumn<T> {
    /// Strictly rising once the buffer is filled.
    pub t_ms: Vec<TimestampMs>,
    /// The values.
    pub value: Vec<T>,
    /// Start timestamps, 0 = unknown; empty when all are unknown.
    pub start_ms: Vec<TimestampMs>,
}

impl<T> Default for SampleColumn<T> {
    fn default() -> Self {
        SampleColumn { t_ms: Vec::new(), value: Vec::new(), start_ms: Vec::new() }
    }
}

impl<T: Clone> SampleColumn<T> {
    /// How many samples.
    pub fn len(&self) -> usize {
        self.t_ms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.t_ms.is_empty()
    }

    /// Appends one sample.
    pub fn push(&mut self, t_ms: TimestampMs, value: T, start_ms: TimestampMs) {
        if start_ms != 0 && self.start_ms.is_empty() {
            self.start_ms.resize(self.t_ms.len(), 0);
        }
        if start_ms != 0 || !self.start_ms.is_empty() {
            self.start_ms.push(start_ms);
        }
        self.t_ms.push(t_ms);
        self.value.push(value);
    }

    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.t_ms.clear();
        self.value.clear();
        self.start_ms.clear();
    }

    fn truncate(&mut self, len: usize) {
        self.t_ms.truncate(len);
        self.value.truncate(len);
        self.start_ms.truncate(len);
    }

    fn start_at(&self, i: usize) -> TimestampMs {
        self.start_ms.get(i).copied().unwrap_or(0)
    }

    /// Appends with all start timestamps unknown.
    fn extend(&mut self, t_ms: &[TimestampMs], value: &[T]) {
        self.t_ms.extend_from_slice(t_ms);
        self.value.extend_from_slice(value);
        if !self.start_ms.is_empty() {
            self.start_ms.resize(self.t_ms.len(), 0);
        }
    }

    /// Brings samples that overlapping chunks have put out of order into order; of equal times the one that
    /// `wins(candidate, kept)` stays.
    fn restore_order(&mut self, wins: impl Fn(&T, &T) -> bool) {
        if self.t_ms.windows(2).all(|w| w[0] < w[1]) {
            return;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|i| self.t_ms[*i]);
        let mut sorted = SampleColumn::default();
        for i in order {
            let (t, v) = (self.t_ms[i], &self.value[i]);
            if sorted.t_ms.last() == Some(&t) {
                let last = sorted.value.len() - 1;
                if wins(v, &sorted.value[last]) {
                    sorted.value[last] = v.clone();
                }
                continue;
            }
            sorted.push(t, v.clone(), self.start_at(i));
        }
        *self = sorted;
    }

    /// Keeps the samples that `keep` accepts. Mostly that is all of them, so stretches are looked at as a whole
    /// first, which compiles to vector code.
    fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let all = |stretch: &[T]| stretch.iter().fold(true, |all, v| all & keep(v));
        if self.value.chunks(64).all(all) {
            return;
        }
        let mut kept = 0;
        for i in 0..self.len() {
            if keep(&self.value[i]) {
                self.t_ms.swap(kept, i);
                self.value.swap(kept, i);
                if !self.start_ms.is_empty() {
                    self.start_ms.swap(kept, i);
                }
                kept += 1;
            }
        }
        self.truncate(kept);
    }
}

impl SampleBuf {
    /// Removes all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }

    /// Samples of both kinds.
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// Appends one sample of either kind.
    pub fn push(&mut self, t_ms: TimestampMs, value: &Value, start_ms: TimestampMs) {
        match value {
            Value::Float(v) => self.floats.push(t_ms, *v, start_ms),
            Value::Histogram(h) => self.histograms.push(t_ms, Arc::new(h.to_float()), start_ms),
            Value::FloatHistogram(h) => self.histograms.push(t_ms, h.clone(), start_ms),
        }
    }

    /// Removes stale markers: ranges do not see them.
    pub fn remove_stale(&mut self) {
        self.floats.retain(|v| !is_stale(*v));
        self.histograms.retain(|h| !h.is_stale());
    }

    /// Leaves only count and sum of the histograms. Buckets are what resets are found by, so the hint tells how
    /// each histogram stands to the one before it, as far as there is one in the buffer.
    pub fn keep_stats(&mut self) {
        let mut previous: Option<Arc<FloatHistogram>> = None;
        for h in &mut self.histograms.value {
            if h.is_stale() {
                continue;
            }
            let reset_hint = match (h.reset_hint, &previous) {
                (CounterResetHint::Unknown, Some(p)) if h.detect_reset(p) => CounterResetHint::Reset,
                (CounterResetHint::Unknown, Some(_)) => CounterResetHint::NotReset,
                (hint, _) => hint,
            };
            let stats = FloatHistogram {
                reset_hint,
                schema: h.schema,
                count: h.count,
                sum: h.sum,
                ..FloatHistogram::default()
            };
            previous = Some(std::mem::replace(h, Arc::new(stats)));
        }
    }

    /// Fills the buffer with the samples of `chunks` at least from `min_ms` to `max_ms`, both included.
    ///
    /// # Errors
    /// The decoder's message.
    pub fn fill(
        &mut self,
        chunks: &[AggrChunk],
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        aggregate: Aggregate,
        decoder: &dyn DecodeChunk,
    ) -> Result<(), String> {
        self.clear();
        let mut end = TimestampMs::MIN;
        let mut overlap = false;
        let mut counter = downsampled::CounterState::default();
        for chunk in chunks {
            if chunk.max_ms() < min_ms || chunk.min_ms() > max_ms {
                continue;
            }
            overlap |= chunk.min_ms() <= end;
            end = end.max(chunk.max_ms());
            match chunk {
                AggrChunk::Raw(c) => self.append(c, min_ms, max_ms, decoder)?,
                AggrChunk::Downsampled(a) => {
                    self.append_downsampled(a, (min_ms, max_ms), aggregate, &mut counter, decoder)?;
                }
            }
        }
        if overlap {
            // Copies of one series differ at most by the order that all of cairn's writers share.
            self.floats.restore_order(|new, kept| {
                is_stale(*kept) || (!is_stale(*new) && new.to_bits() > kept.to_bits())
            });
            self.histograms
                .restore_order(|new, kept| kept.is_stale() || (!new.is_stale() && new.count > kept.count));
            self.prefer_histograms();
        }
        Ok(())
    }

    fn append_downsampled(
        &mut self,
        a: &Aggregates,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        aggregate: Aggregate,
        counter: &mut downsampled::CounterState,
        decoder: &dyn DecodeChunk,
    ) -> Result<(), String> {
        downsampled::append(a, aggregate, counter, self, &mut |chunk, out| {
            out.append(chunk, min_ms, max_ms, decoder)
        })
    }

    /// Appends the samples of one chunk.
    fn append(
        &mut self,
        chunk: &Chunk,
        min_ms: TimestampMs,
        max_ms: TimestampMs,
        decoder: &dyn DecodeChunk,
    ) -> Result<(), String> {
        match &chunk.data {
            ChunkData::Encoded(encoding, data) => {
                let had_starts = (!self.floats.start_ms.is_empty(), !self.histograms.start_ms.is_empty());
                decoder.decode(*encoding, data, min_ms, max_ms, self)?;
                // A decoder that knows no start timestamps appends none.
                if had_starts.0 {
                    self.floats.start_ms.resize(self.floats.t_ms.len(), 0);
                }
                if had_starts.1 {
                    self.histograms.start_ms.resize(self.histograms.t_ms.len(), 0);
                }
                Ok(())
            }
            ChunkData::Columns(columns) => {
                // The chunk's own bounds save looking into times that are all inside.
                let from =
                    if chunk.min_ms >= min_ms { 0 } else { columns.t_ms.partition_point(|t| *t < min_ms) };
                let to = if chunk.max_ms <= max_ms {
                    columns.t_ms.len()
                } else {
                    columns.t_ms.partition_point(|t| *t <= max_ms)
                };
                self.append_columns(columns, from, to);
                Ok(())
            }
        }
    }

    /// Appends samples `from .. to`.
    fn append_columns(&mut self, c: &Columns, from: usize, to: usize) {
        match &c.values {
            ColumnValues::Floats(values) if c.start_ms.is_empty() => {
                self.floats.extend(&c.t_ms[from..to], &values[from..to]);
            }
            ColumnValues::Floats(values) => {
                for (i, v) in values.iter().enumerate().take(to).skip(from) {
                    self.floats.push(c.t_ms[i], *v, c.start_ms[i]);
                }
            }
            ColumnValues::Mixed(values) => {
                for (i, v) in values.iter().enumerate().take(to).skip(from) {
                    self.push(c.t_ms[i], v, c.start_ms.get(i).copied().unwrap_or(0));
                }
            }
        }
    }

    /// Where overlapping chunks have a float and a histogram at one time, the histogram stays.
    fn prefer_histograms(&mut self) {
        if self.floats.is_empty() || self.histograms.is_empty() {
            return;
        }
        let taken = &self.histograms.t_ms;
        let mut kept = SampleColumn::default();
        for i in 0..self.floats.len() {
            let t = self.floats.t_ms[i];
            if taken.binary_search(&t).is_err() {
                kept.push(t, self.floats.value[i], self.floats.start_at(i));
            }
        }
        self.floats = kept;
    }

    /// Fills the buffer with the last sample at or before `at_ms` and after `after_ms`, looking at chunks from
    /// the newest and at no more of them than needed. Chunks must not overlap and must be raw; otherwise answers
    /// `false` and leaves the work to [`SampleBuf::fill`].
    ///
    /// # Errors
    /// The decoder's message.
    pub fn fill_last(
        &mut self,
        chunks: &[AggrChunk],
        after_ms: TimestampMs,
        at_ms: TimestampMs,
        decoder: &dyn DecodeChunk,
    ) -> Result<bool, String> {
        self.clear();
        if chunks.windows(2).any(|w| w[0].max_ms() >= w[1].min_ms()) {
            return Ok(false);
        }
        for chunk in chunks.iter().rev() {
            let AggrChunk::Raw(chunk) = chunk else { return Ok(false) };
            if chunk.min_ms > at_ms {
                continue;
            }
            if chunk.max_ms <= after_ms {
                break;
            }
            self.clear();
            if let ChunkData::Columns(c) = &chunk.data {
                let len = c.t_ms.len();
                let to = if chunk.max_ms <= at_ms { len } else { c.t_ms.partition_point(|t| *t <= at_ms) };
                if to > 0 && c.t_ms[to - 1] > after_ms {
                    self.append_columns(c, to - 1, to);
                    break;
                }
                continue;
            }
            self.append(chunk, after_ms.saturating_add(1), at_ms, decoder)?;
            let has_it = |t: &[TimestampMs]| t.iter().any(|t| *t > after_ms && *t <= at_ms);
            if has_it(&self.floats.t_ms) || has_it(&self.histograms.t_ms) {
                break;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(samples: &[(i64, f64)]) -> AggrChunk {
        AggrChunk::Raw(Chunk {
            min_ms: samples.first().unwrap().0,
            max_ms: samples.last().unwrap().0,
            data: ChunkData::Columns(Arc::new(Columns {
                t_ms: samples.iter().map(|s| s.0).collect(),
                values: ColumnValues::Floats(samples.iter().map(|s| s.1).collect()),
                start_ms: Vec::new(),
            })),
        })
    }

    #[test]
    fn overlapping_chunks_are_merged_in_order() {
        let chunks =
            [chunk(&[(1, 1.0), (3, 3.0), (5, 5.0)]), chunk(&[(3, 3.0), (4, 4.0)]), chunk(&[(9, 9.0)])];
        let mut buf = SampleBuf::default();
        buf.fill(&chunks, (2, 6), Aggregate::Average, &ColumnsOnly).unwrap();
        assert_eq!(buf.floats.t_ms, [3, 4, 5]);
        assert_eq!(buf.floats.value, [3.0, 4.0, 5.0]);
    }

    #[test]
    fn the_last_sample_is_found_in_an_older_chunk_when_the_newest_has_none_in_reach() {
        let chunks = [chunk(&[(1, 1.0), (3, 3.0)]), chunk(&[(5, 5.0), (9, 9.0)])];
        let mut buf = SampleBuf::default();
        assert!(buf.fill_last(&chunks, 0, 4, &ColumnsOnly).unwrap());
        assert_eq!(buf.floats.value.last(), Some(&3.0));
        assert!(buf.fill_last(&chunks, 0, 7, &ColumnsOnly).unwrap());
        assert_eq!(buf.floats.value, [5.0]);
        let overlapping = [chunk(&[(1, 1.0), (6, 3.0)]), chunk(&[(5, 5.0), (9, 9.0)])];
        assert!(!buf.fill_last(&overlapping, 0, 7, &ColumnsOnly).unwrap());
    }

    #[test]
    fn start_timestamps_stay_aligned() {
        let mut c = SampleColumn::default();
        c.push(1, 1.0, 0);
        c.push(2, f64::from_bits(cairn_model::STALE_NAN_BITS), 5);
        c.push(3, 3.0, 0);
        assert_eq!(c.start_ms, [0, 5, 0]);
        c.retain(|v| !is_stale(*v));
        assert_eq!((c.t_ms, c.start_ms), (vec![1, 3], vec![0, 0]));
    }
}
