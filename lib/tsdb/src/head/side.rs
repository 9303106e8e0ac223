//! Samples of a series that came out of order, too late for their window's first generation, or with a greater
//! value for a time that was taken.
//!
//! They lie apart, by (window, generation): a small sorted buffer, and chunks that it was encoded into. Readers merge
//! them with the main chunks; the greater value wins at equal times.
//!
//! Invariant: within a part, the buffer is strictly rising in time; for a time that occurs in several places the
//! greatest value is in one of them.

use cairn_model::chunk::Chunk;
use cairn_model::sample::Sample;
use cairn_model::{ChunkData, TimestampMs, Value};

use super::order;
use super::series::WindowNo;
use crate::chunkenc::{ChunkBuilder, ChunkDecoder, CutRule};

/// A buffer of this many samples is encoded. As in Prometheus' out-of-order head.
const BUFFER_SAMPLES: usize = 32;

/// A part with more chunks than this is merged into few: bounds what a late backlog in random order costs a reader.
const MAX_CHUNKS: usize = 32;

/// Which part a sample belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartKey {
    /// The window.
    pub window: WindowNo,
    /// Its generation.
    pub generation: u32,
}

/// Generations of one window that are cut together: those that are not released, up to the sealed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generations {
    /// The window.
    pub window: WindowNo,
    /// The first.
    pub from: u32,
    /// The last.
    pub through: u32,
}

impl Generations {
    /// Whether the part belongs to one of them.
    pub fn contains(&self, key: PartKey) -> bool {
        key.window == self.window && (self.from..=self.through).contains(&key.generation)
    }
}

/// Samples of one generation of one window.
#[derive(Debug, Default)]
pub struct Part {
    buffer: Vec<Sample>,
    chunks: Vec<Chunk>,
}

/// All side samples of a series.
#[derive(Debug, Default)]
pub struct Side {
    parts: Vec<(PartKey, Part)>,
}

impl Side {
    /// Samples of parts that are in order of window and generation.
    pub fn of_parts(parts: Vec<(PartKey, Part)>) -> Self {
        debug_assert!(parts.windows(2).all(|w| w[0].0 < w[1].0));
        Side { parts }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The value at `t_ms`, the greatest if there are several.
    pub fn find(&self, t_ms: TimestampMs) -> Option<Value> {
        let mut found: Option<Value> = None;
        let mut offer = |v: &Value| {
            if found.as_ref().is_none_or(|f| order::compare(v, f).is_gt()) {
                found = Some(v.clone());
            }
        };
        for (_, part) in &self.parts {
            if let Ok(i) = part.buffer.binary_search_by_key(&t_ms, |s| s.t_ms) {
                offer(&part.buffer[i].value);
            }
            for chunk in part.chunks.iter().filter(|c| (c.min_ms..=c.max_ms).contains(&t_ms)) {
                samples_of(chunk).filter(|s| s.t_ms == t_ms).for_each(|s| offer(&s.value));
            }
        }
        found
    }

    /// Adds a sample; at a time that the buffer has, the greater value stays.
    pub fn insert(&mut self, key: PartKey, sample: Sample) {
        let at = match self.parts.binary_search_by_key(&key, |p| p.0) {
            Ok(at) => at,
            Err(at) => {
                self.parts.insert(at, (key, Part::default()));
                at
            }
        };
        self.parts[at].1.insert(sample);
    }

    /// Parts in order of window and generation.
    pub fn parts(&self) -> impl Iterator<Item = (PartKey, &Part)> {
        self.parts.iter().map(|(k, p)| (*k, p))
    }

    /// One part.
    pub fn part(&self, key: PartKey) -> Option<&Part> {
        self.parts.binary_search_by_key(&key, |p| p.0).ok().map(|i| &self.parts[i].1)
    }

    /// The samples of some generations, in no order.
    pub fn samples_of(&self, which: &Generations) -> Vec<Sample> {
        self.parts().filter(|(key, _)| which.contains(*key)).flat_map(|(_, part)| part.samples()).collect()
    }

    /// Forgets the parts that `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(PartKey) -> bool) {
        self.parts.retain(|(key, _)| keep(*key));
    }

    /// Oldest and newest time; `None` when there is nothing.
    pub fn range(&self) -> Option<(TimestampMs, TimestampMs)> {
        self.parts.iter().map(|(_, p)| p.range()).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

impl Part {
    fn insert(&mut self, sample: Sample) {
        match self.buffer.binary_search_by_key(&sample.t_ms, |s| s.t_ms) {
            Ok(i) => {
                if order::compare(&sample.value, &self.buffer[i].value).is_gt() {
                    self.buffer[i] = sample;
                }
                return;
            }
            Err(i) => self.buffer.insert(i, sample),
        }
        if self.buffer.len() >= BUFFER_SAMPLES {
            let full = std::mem::take(&mut self.buffer);
            self.chunks.extend(encode(full.iter()));
            if self.chunks.len() > MAX_CHUNKS {
                let merged = merge(self.chunks.iter().flat_map(samples_of).collect());
                self.chunks = encode(merged.iter());
            }
        }
    }

    /// A part of encoded chunks; they may overlap.
    pub fn of_chunks(chunks: Vec<Chunk>) -> Self {
        Part { buffer: Vec::new(), chunks }
    }

    /// The encoded chunks, those of the buffer included.
    pub fn all_chunks(&self) -> Vec<Chunk> {
        self.chunks.iter().cloned().chain(encode(self.buffer.iter())).collect()
    }

    /// The encoded chunks; they may overlap.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The samples that are not encoded yet, in order of time.
    pub fn buffer(&self) -> &[Sample] {
        &self.buffer
    }

    /// All samples, sorted, the greatest value at each time.
    pub fn samples(&self) -> Vec<Sample> {
        merge(self.chunks.iter().flat_map(samples_of).chain(self.buffer.iter().cloned()).collect())
    }

    /// Oldest and newest time.
    pub fn range(&self) -> (TimestampMs, TimestampMs) {
        let buffered = self.buffer.iter().map(|s| (s.t_ms, s.t_ms));
        let encoded = self.chunks.iter().map(|c| (c.min_ms, c.max_ms));
        buffered.chain(encoded).fold((i64::MAX, i64::MIN), |a, b| (a.0.min(b.0), a.1.max(b.1)))
    }
}

/// Sorts by time and keeps the greatest value at each.
pub fn merge(mut samples: Vec<Sample>) -> Vec<Sample> {
    samples.sort_by(|a, b| a.t_ms.cmp(&b.t_ms).then_with(|| order::compare(&b.value, &a.value)));
    samples.dedup_by_key(|s| s.t_ms);
    samples
}

/// Encodes samples, strictly rising in time, as chunks.
pub fn encode<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<Chunk> {
    let mut builder = ChunkBuilder::new(CutRule::default());
    samples.for_each(|s| builder.push(s.t_ms, s.start_ms, &s.value));
    builder.finish()
}

/// The samples of a chunk that this process encoded.
pub fn samples_of(chunk: &Chunk) -> impl Iterator<Item = Sample> + '_ {
    let ChunkData::Encoded(encoding, bytes) = &chunk.data else {
        unreachable!("side chunks and full chunks are encoded")
    };
    // A chunk of our own memory or of a file that we wrote: a damaged one ends early, as its reader would see it.
    ChunkDecoder::new(*encoding, bytes).map_while(Result::ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_side_is_a_map_that_keeps_the_greater(
            inserts in prop::collection::vec((0i64..600, -3i64..3, 0i32..3), 0..700),
        ) {
            let (mut side, mut model) = (Side::default(), BTreeMap::<i64, f64>::new());
            for (t, v, window) in inserts {
                let value = Value::Float(v as f64);
                side.insert(PartKey { window, generation: 1 }, Sample { t_ms: t, start_ms: 0, value: value.clone() });
                let kept = model.entry(t).or_insert(v as f64);
                if order::compare(&value, &Value::Float(*kept)).is_gt() {
                    *kept = v as f64;
                }
            }
            for t in 0..600 {
                prop_assert_eq!(side.find(t), model.get(&t).map(|v| Value::Float(*v)));
            }
            let all = merge(side.parts().flat_map(|(_, p)| p.samples()).collect());
            let got: Vec<_> = all.iter().map(|s| (s.t_ms, s.value.clone())).collect();
            let want: Vec<_> = model.iter().map(|(t, v)| (*t, Value::Float(*v))).collect();
            prop_assert_eq!(got, want);
        }
    }
}
