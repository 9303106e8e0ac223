//! The blocks of a folder, and their series merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::str::FromStr;

use cairn_model::sample::Sample;
use cairn_model::{Encoding, Labels, Matcher, TimestampMs};
use cairn_runtime::Disk;
use ulid::Ulid;

use crate::block::{BlockReader, BlockSeries};
use crate::chunkenc::ChunkDecoder;
use crate::error::TsdbError;

/// Opens all blocks below `dir`, in order of their first time.
///
/// # Errors
/// [`TsdbError::Io`], [`TsdbError::Corrupt`] naming the first block that cannot be opened.
pub fn open_blocks(disk: &dyn Disk, dir: &Path) -> Result<Vec<BlockReader>, TsdbError> {
    let mut blocks = Vec::new();
    for entry in disk.list(dir).map_err(TsdbError::io("list", dir))? {
        if entry.is_dir && Ulid::from_str(&entry.name).is_ok() {
            blocks.push(BlockReader::open(disk, &dir.join(&entry.name))?);
        }
    }
    blocks.sort_by_key(|b| (b.meta().min_time, b.meta().ulid));
    Ok(blocks)
}

/// Series of several blocks in order of labels, one at a time with all its samples.
pub(super) struct MergedSeries<'a> {
    sources: Vec<Box<dyn Iterator<Item = Result<BlockSeries, TsdbError>> + 'a>>,
    waiting: Vec<Option<BlockSeries>>,
    heap: BinaryHeap<Reverse<(Labels, usize)>>,
}

impl<'a> MergedSeries<'a> {
    /// Series with samples between `min_ms` and `max_ms` for which all of any one set of matchers hold.
    pub fn new(
        blocks: &'a [BlockReader],
        matcher_sets: &[Vec<Matcher>],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Self, TsdbError> {
        let mut merged = MergedSeries { sources: Vec::new(), waiting: Vec::new(), heap: BinaryHeap::new() };
        for block in blocks.iter().filter(|b| b.meta().overlaps(min_ms, max_ms)) {
            for matchers in matcher_sets {
                merged.sources.push(Box::new(block.select(matchers, min_ms, max_ms)?));
                merged.waiting.push(None);
            }
        }
        (0..merged.sources.len()).try_for_each(|i| merged.refill(i))?;
        Ok(merged)
    }

    /// The next series; samples in order, one a timestamp, within the range given.
    pub fn next_series(
        &mut self,
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Option<(Labels, Vec<Sample>)>, TsdbError> {
        let Some(Reverse((labels, _))) = self.heap.peek() else { return Ok(None) };
        let labels = labels.clone();
        let mut samples = Vec::new();
        while let Some(Reverse((next, i))) = self.heap.peek() {
            let i = *i;
            if *next != labels {
                break;
            }
            self.heap.pop();
            if let Some(series) = self.waiting[i].take() {
                decode(&series, &mut samples)?;
            }
            self.refill(i)?;
        }
        samples.retain(|s| (min_ms..=max_ms).contains(&s.t_ms));
        if !samples.is_sorted_by(|a, b| a.t_ms < b.t_ms) {
            samples.sort_by_key(|s| s.t_ms);
            samples.dedup_by_key(|s| s.t_ms);
        }
        Ok(Some((labels, samples)))
    }

    fn refill(&mut self, i: usize) -> Result<(), TsdbError> {
        if let Some(series) = self.sources[i].next() {
            let series = series?;
            self.heap.push(Reverse((series.labels.clone(), i)));
            self.waiting[i] = Some(series);
        }
        Ok(())
    }
}

fn decode(series: &BlockSeries, out: &mut Vec<Sample>) -> Result<(), TsdbError> {
    for chunk in &series.chunks {
        let object = || format!("chunk from {} of {}", chunk.min_ms, series.labels);
        let Some(encoding) = Encoding::from_byte(chunk.encoding) else {
            return Err(TsdbError::Unsupported(format!("encoding {} of {}", chunk.encoding, object())));
        };
        for sample in ChunkDecoder::new(encoding, &chunk.data) {
            out.push(sample.map_err(|m| TsdbError::malformed(object(), 0, m))?);
        }
    }
    Ok(())
}
