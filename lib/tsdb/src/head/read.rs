//! What a reader takes from a partition: the chunks of a series, copied or shared, in order of time.
//!
//! Full chunks share their file's memory; open chunks and raw tails are copied into one buffer an answer, encoded as one
//! chunk. A series with start timestamps is answered in columns, which can carry them. Who looks at the newest sample
//! only gets it alone where it is at hand.
//!
//! Invariant: the chunks hold every sample that was acknowledged before the call and whose window is not released.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cairn_model::chunk::{Chunk, ColumnValues, Columns};
use cairn_model::{AggrChunk, ChunkData, Encoding, TimestampMs, Value};

use super::chunks::{Chunks, window_of};
use super::pairs::PairId;
use super::partition::Partition;
use super::series::{Cold, HAS_EXTRA, Hot, NO_WINDOW, TAIL, TenantNo, WindowNo};
use super::side::Generations;
use super::sorting::Picked;
use super::starts::Starts;
use crate::chunkenc::{ChunkDecoder, XorAppender};

/// Chunks of several series, with one buffer for what had to be copied.
#[derive(Default)]
pub struct Gathered {
    pieces: Vec<Piece>,
    copied: Vec<u8>,
    ends: Vec<usize>,
    /// A chunk under construction.
    chunk: Vec<u8>,
}

struct Piece {
    min_ms: TimestampMs,
    max_ms: TimestampMs,
    data: PieceData,
}

enum PieceData {
    Shared(Encoding, Bytes),
    Copied(Encoding, Range<usize>),
    Columns(Columns),
}

impl Gathered {
    /// Room for `series` series with about so many bytes of chunks each.
    pub fn with_room(series: usize, bytes: usize) -> Self {
        Gathered {
            pieces: Vec::with_capacity(series),
            copied: Vec::with_capacity(series * bytes),
            ends: Vec::with_capacity(series),
            chunk: Vec::new(),
        }
    }

    /// Ends a series: what was gathered since the last end belongs to it.
    pub fn end_series(&mut self) {
        self.ends.push(self.pieces.len());
    }

    /// Time of the oldest chunk gathered.
    pub fn oldest_ms(&self) -> Option<TimestampMs> {
        self.pieces.iter().map(|p| p.min_ms).min()
    }

    /// The chunks, series by series.
    pub fn finish(self) -> Vec<Vec<AggrChunk>> {
        let copied = Bytes::from(self.copied);
        let mut pieces = self.pieces.into_iter().map(|p| {
            let data = match p.data {
                PieceData::Shared(encoding, bytes) => ChunkData::Encoded(encoding, bytes),
                PieceData::Copied(encoding, range) => ChunkData::Encoded(encoding, copied.slice(range)),
                PieceData::Columns(columns) => ChunkData::Columns(Arc::new(columns)),
            };
            AggrChunk::Raw(Chunk { min_ms: p.min_ms, max_ms: p.max_ms, data })
        });
        let mut begin = 0;
        let mut series = Vec::with_capacity(self.ends.len());
        for end in self.ends {
            // Collecting would make room for four where most series have one.
            let mut chunks: Vec<AggrChunk> = Vec::with_capacity(end - begin);
            chunks.extend(pieces.by_ref().take(end - begin));
            if !chunks.is_sorted_by_key(AggrChunk::min_ms) {
                chunks.sort_by_key(AggrChunk::min_ms);
            }
            series.push(chunks);
            begin = end;
        }
        series
    }

    /// Adds a chunk of float samples behind those of `before`, an open chunk, which stays as it is.
    fn encode(
        &mut self,
        before: Option<(&Chunks, &Cold)>,
        (t_ms, values): (&[TimestampMs], &[f64]),
        min_ms: TimestampMs,
    ) {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.clear();
        let mut appender = match before {
            Some((chunks, cold)) => {
                chunks.copy_open(cold, &mut chunk);
                cold.xor
            }
            None => XorAppender::start(&mut chunk),
        };
        appender.append(&mut chunk, t_ms, values);
        self.copy(Encoding::Xor, &chunk, (min_ms, appender.last_ms()));
        self.chunk = chunk;
    }

    fn copy(&mut self, encoding: Encoding, bytes: &[u8], range: (TimestampMs, TimestampMs)) {
        self.copy_with(encoding, range, |copied| copied.extend_from_slice(bytes));
    }

    fn copy_with(
        &mut self,
        encoding: Encoding,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        append: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.copied.len();
        append(&mut self.copied);
        let data = PieceData::Copied(encoding, start..self.copied.len());
        self.pieces.push(Piece { min_ms, max_ms, data });
    }
}

impl Partition {
    /// Gathers the chunks of a series that overlap `min_ms ..= max_ms`. Gives whether there are any.
    pub fn gather(
        &self,
        slot: u32,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        out: &mut Gathered,
    ) -> bool {
        let Some((hot, cold)) = self.slab.get(slot) else { return false };
        let before = out.pieces.len();
        let overlaps = |a: TimestampMs, b: TimestampMs| a <= max_ms && b >= min_ms;
        if !self.is_in_open_chunk(hot, cold, min_ms) {
            self.gather_full(cold, (min_ms, max_ms), out);
        }
        self.gather_open(hot, cold, &overlaps, out);
        if let Some(extra) = self.extra(slot) {
            if let Some(open) = &extra.histogram
                && overlaps(open.min_ms, open.max_ms)
            {
                out.copy(open.encoding(), open.bytes(), (open.min_ms, open.max_ms));
            }
            for (_, part) in extra.side.parts() {
                for c in part.chunks().iter().filter(|c| overlaps(c.min_ms, c.max_ms)) {
                    if let ChunkData::Encoded(encoding, bytes) = &c.data {
                        let data = PieceData::Shared(*encoding, bytes.clone());
                        out.pieces.push(Piece { min_ms: c.min_ms, max_ms: c.max_ms, data });
                    }
                }
                let buffer = part.buffer();
                if let (Some(first), Some(last)) = (buffer.first(), buffer.last())
                    && overlaps(first.t_ms, last.t_ms)
                {
                    let samples = buffer.iter().map(|s| (s.t_ms, s.value.clone()));
                    let data = PieceData::Columns(columns_of(samples));
                    out.pieces.push(Piece { min_ms: first.t_ms, max_ms: last.t_ms, data });
                }
            }
            if !extra.starts.is_empty() {
                out.attach_starts(before, &extra.starts);
            }
        }
        out.pieces.len() > before
    }

    /// Gathers the last sample of the range alone. Gives `false`, and nothing, when it is neither in the tail nor what the
    /// open chunk ends with, or a series may have a newer one elsewhere.
    pub fn gather_newest(
        &self,
        slot: u32,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        out: &mut Gathered,
    ) -> bool {
        let Some((hot, cold)) = self.slab.get(slot) else { return false };
        if hot.window == NO_WINDOW || hot.flags & HAS_EXTRA != 0 {
            return false;
        }
        let (t_ms, n) = tail_times(hot, self.start_ms(hot.window));
        let (t_ms, value) = match (0..n).rev().find(|i| t_ms[*i] <= max_ms) {
            Some(last) => (t_ms[last], hot.tail_values[last]),
            // The encoder knows what it wrote last, which saves reading the chunk.
            None if hot.encoded > 0 => (cold.xor.last_ms(), f64::from_bits(cold.xor.last_bits())),
            None => return false,
        };
        if t_ms < min_ms || t_ms > max_ms {
            return false;
        }
        out.encode(None, (&[t_ms], &[value]), t_ms);
        true
    }

    /// Whether a series has samples in chunks that overlap the range.
    pub fn has_data(&self, slot: u32, (min_ms, max_ms): (TimestampMs, TimestampMs)) -> bool {
        let Some((hot, cold)) = self.slab.get(slot) else { return false };
        let overlaps = |a: TimestampMs, b: TimestampMs| a <= max_ms && b >= min_ms;
        if hot.window != NO_WINDOW {
            let first = self.start_ms(hot.window) + i64::from(self.first_dt(hot, cold));
            if overlaps(first, self.start_ms(hot.window) + i64::from(hot.last_dt))
                && (hot.tail_len > 0 || hot.encoded > 0)
            {
                return true;
            }
        }
        if let Some(extra) = self.extra(slot)
            && (extra.histogram.as_ref().is_some_and(|h| overlaps(h.min_ms, h.max_ms))
                || extra.side.range().is_some_and(|(a, b)| overlaps(a, b)))
        {
            return true;
        }
        let mut any = false;
        self.walk_full(cold, (min_ms, max_ms), |_| any = true);
        any
    }

    /// Whether everything from `min_ms` on is younger than the full chunks: main chunks rise, so what begins in the open
    /// one needs no look at their headers, which are a cache miss a series. Series with extras have other chunks.
    fn is_in_open_chunk(&self, hot: &Hot, cold: &Cold, min_ms: TimestampMs) -> bool {
        hot.window != NO_WINDOW
            && hot.encoded > 0
            && hot.flags & HAS_EXTRA == 0
            && min_ms >= self.start_ms(hot.window) + i64::from(cold.first_dt)
    }

    fn first_dt(&self, hot: &Hot, cold: &Cold) -> u32 {
        if hot.encoded > 0 { cold.first_dt } else { hot.tail_dt[0] }
    }

    fn gather_open(
        &self,
        hot: &Hot,
        cold: &Cold,
        overlaps: &impl Fn(TimestampMs, TimestampMs) -> bool,
        out: &mut Gathered,
    ) {
        if hot.window == NO_WINDOW {
            return;
        }
        let start_ms = self.start_ms(hot.window);
        let open = (start_ms + i64::from(cold.first_dt), cold.xor.last_ms());
        let has_open = hot.encoded > 0 && overlaps(open.0, open.1);
        let (t_ms, n) = tail_times(hot, start_ms);
        if n == 0 || !overlaps(t_ms[0], t_ms[n - 1]) {
            if has_open {
                out.copy_with(Encoding::Xor, open, |copied| self.chunks.copy_open(cold, copied));
            }
            return;
        }
        let (before, min_ms) = if has_open { (Some(cold), open.0) } else { (None, t_ms[0]) };
        out.encode(before.map(|cold| (&self.chunks, cold)), (&t_ms[..n], &hot.tail_values[..n]), min_ms);
    }

    fn gather_full(&self, cold: &Cold, range: (TimestampMs, TimestampMs), out: &mut Gathered) {
        self.walk_full(cold, range, |locator| {
            if let Some(c) = self.chunks.full.get(locator) {
                let data = PieceData::Shared(c.encoding, c.bytes);
                out.pieces.push(Piece { min_ms: c.min_ms, max_ms: c.max_ms, data });
            }
        });
    }

    /// Visits the full chunks that overlap the range and are not released, from new to old.
    fn walk_full(
        &self,
        cold: &Cold,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        mut visit: impl FnMut(u64),
    ) {
        let Some(index) = self.tenant(cold.tenant) else { return };
        let mut at = cold.full;
        while let Some(header) = self.chunks.full.header(at) {
            if header.max_ms < min_ms {
                return;
            }
            let window = window_of(header.min_ms, self.identity.window_ms);
            let released = window.is_none_or(|w| index.is_released(w));
            if header.min_ms <= max_ms && !released {
                visit(at);
            }
            at = header.before;
        }
    }

    /// The chunks of some generations of a window, in order of time, not overlapping: what a block holds. `None`
    /// when the series has nothing there. Chunks pass through as they are unless side samples must be merged in.
    pub fn gather_generations(&self, slot: u32, which: &Generations) -> Option<Vec<Chunk>> {
        let (_, cold) = self.slab.get(slot)?;
        let mut chunks = Vec::new();
        if which.from == 0 {
            let start_ms = self.start_ms(which.window);
            let range = (start_ms, start_ms + self.identity.window_ms - 1);
            self.walk_full(cold, range, |locator| {
                if let Some(c) = self.chunks.full.get(locator) {
                    let data = ChunkData::Encoded(c.encoding, c.bytes);
                    chunks.push(Chunk { min_ms: c.min_ms, max_ms: c.max_ms, data });
                }
            });
            chunks.reverse();
        }
        let late = self.extra(slot).map(|e| e.side.samples_of(which)).unwrap_or_default();
        if !late.is_empty() {
            let main = chunks.iter().flat_map(super::side::samples_of);
            let merged = super::side::merge(main.chain(late).collect());
            chunks = super::side::encode(merged.iter());
        }
        (!chunks.is_empty()).then_some(chunks)
    }
}

impl super::partition::TenantIndex {
    /// Whether the main chunks of a window are in a verified block.
    pub fn is_released(&self, window: WindowNo) -> bool {
        self.released.contains(&window)
    }
}

impl Gathered {
    /// Turns the pieces from `begin` on into columns with start timestamps.
    fn attach_starts(&mut self, begin: usize, starts: &Starts) {
        for piece in &mut self.pieces[begin..] {
            let mut columns = match &piece.data {
                PieceData::Shared(encoding, bytes) => decoded(*encoding, bytes),
                PieceData::Copied(encoding, range) => decoded(*encoding, &self.copied[range.clone()]),
                PieceData::Columns(columns) => columns.clone(),
            };
            columns.start_ms = columns.t_ms.iter().map(|t| starts.at(*t)).collect();
            piece.data = PieceData::Columns(columns);
        }
    }
}

/// Times of the raw tail, and how many there are.
fn tail_times(hot: &Hot, start_ms: TimestampMs) -> ([TimestampMs; TAIL], usize) {
    (hot.tail_dt.map(|dt| start_ms + i64::from(dt)), usize::from(hot.tail_len))
}

fn decoded(encoding: Encoding, bytes: &[u8]) -> Columns {
    columns_of(ChunkDecoder::new(encoding, bytes).map_while(Result::ok).map(|s| (s.t_ms, s.value)))
}

fn columns_of(samples: impl Iterator<Item = (TimestampMs, Value)>) -> Columns {
    let (t_ms, values): (Vec<_>, Vec<_>) = samples.unzip();
    let floats: Option<Vec<f64>> =
        values.iter().map(|v| if let Value::Float(f) = v { Some(*f) } else { None }).collect();
    let values = floats.map_or_else(|| ColumnValues::Mixed(values.clone()), ColumnValues::Floats);
    Columns { t_ms, values, start_ms: Vec::new() }
}

impl Partition {
    /// Whether a series has samples in some generations of a window.
    pub fn has_generations(&self, slot: u32, which: &Generations) -> bool {
        let Some((_, cold)) = self.slab.get(slot) else { return false };
        if self.extra(slot).is_some_and(|e| e.side.parts().any(|(key, _)| which.contains(key))) {
            return true;
        }
        let mut any = false;
        if which.from == 0 {
            let start_ms = self.start_ms(which.window);
            self.walk_full(cold, (start_ms, start_ms + self.identity.window_ms - 1), |_| any = true);
        }
        any
    }

    /// Takes the series among `slots`, of tenant `number`, that have samples in the range, with labels or without.
    pub fn pick(
        &self,
        number: TenantNo,
        slots: &[u32],
        range: (TimestampMs, TimestampMs),
        labelled: bool,
        picked: &mut Picked,
    ) {
        let Some(index) = self.tenant(number) else { return };
        for &slot in slots.iter().filter(|slot| self.has_data(**slot, range)) {
            match labelled {
                true => picked.add(slot, self.pairs_of(slot), &index.pairs),
                false => picked.add_unlabelled(slot),
            }
        }
    }

    /// Changes whenever pair numbers may have got another meaning.
    pub fn sweeps(&self) -> u64 {
        self.swept
    }

    /// The labels of a series as pair numbers, in order of their names.
    pub fn pairs_of(&self, slot: u32) -> &[PairId] {
        self.slab.get(slot).map_or(&[], |(_, cold)| self.labels.get(cold.labels))
    }
}
