//! The series of several blocks side by side, in order of labels.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use cairn_model::Labels;
use cairn_tsdb::block::{BlockChunk, BlockReader};
use cairn_tsdb::index::SeriesEntry;

use crate::error::{CompactError, Result};

/// Walks blocks side by side. After each [`MergedSeries::next`], [`MergedSeries::chunks`] holds the chunks of that
/// series with the number of the block they come from.
pub struct MergedSeries<'b> {
    cursors: Vec<Cursor<'b>>,
    /// Next labels of each cursor that is not at its end; equal labels by number of the cursor.
    heap: BinaryHeap<Reverse<(Labels, usize)>>,
    chunks: Vec<(usize, BlockChunk)>,
}

struct Cursor<'b> {
    block: &'b BlockReader,
    references: std::vec::IntoIter<u32>,
    current: u32,
    entry: SeriesEntry,
}

impl<'b> MergedSeries<'b> {
    /// At the first series of all blocks.
    ///
    /// # Errors
    /// [`CompactError::BadBlock`].
    pub fn new(blocks: &'b [BlockReader]) -> Result<Self> {
        let mut merged = MergedSeries { cursors: Vec::new(), heap: BinaryHeap::new(), chunks: Vec::new() };
        for (i, block) in blocks.iter().enumerate() {
            let references = block.index().all_series().map_err(|e| bad(block, &e))?.into_iter();
            merged.cursors.push(Cursor { block, references, current: 0, entry: SeriesEntry::default() });
            merged.advance(i, None)?;
        }
        Ok(merged)
    }

    /// The next labels, or `None` at the end.
    ///
    /// # Errors
    /// [`CompactError::BadBlock`], also for a block whose series are out of order.
    #[allow(clippy::should_implement_trait)] // lends its chunks
    pub fn next(&mut self) -> Result<Option<Labels>> {
        self.chunks.clear();
        let Some(Reverse((labels, _))) = self.heap.peek() else { return Ok(None) };
        let labels = labels.clone();
        while let Some(Reverse((same, i))) = self.heap.peek()
            && *same == labels
        {
            let i = *i;
            self.heap.pop();
            let c = &self.cursors[i];
            let own = c
                .block
                .chunks_of(c.current, &c.entry.chunks, i64::MIN, i64::MAX)
                .map_err(|e| bad(c.block, &e))?;
            self.chunks.extend(own.into_iter().map(|chunk| (i, chunk)));
            self.advance(i, Some(&labels))?;
        }
        Ok(Some(labels))
    }

    /// Chunks of the series that [`MergedSeries::next`] gave, by input in order of time. May be sorted by the caller.
    pub fn chunks(&mut self) -> &mut Vec<(usize, BlockChunk)> {
        &mut self.chunks
    }

    fn advance(&mut self, i: usize, before: Option<&Labels>) -> Result<()> {
        let c = &mut self.cursors[i];
        let Some(reference) = c.references.next() else { return Ok(()) };
        c.current = reference;
        c.block.index().series(reference, &mut c.entry).map_err(|e| bad(c.block, &e))?;
        let labels = c.entry.labels().to_labels();
        if before.is_some_and(|b| *b >= labels) {
            let reason = format!("series {labels} is out of order in the index");
            return Err(CompactError::BadBlock { ulid: c.block.meta().ulid, reason });
        }
        self.heap.push(Reverse((labels, i)));
        Ok(())
    }
}

fn bad(block: &BlockReader, e: &dyn std::fmt::Display) -> CompactError {
    CompactError::BadBlock { ulid: block.meta().ulid, reason: e.to_string() }
}
