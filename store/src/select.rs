//! From a block's index to the series of an answer, and the answers of several blocks as one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use cairn_model::Labels;
use cairn_model::storage::{SeriesRequest, StoreError};
use cairn_tsdb::TsdbError;
use cairn_tsdb::index::{ChunkMeta, IndexReader, KnownSymbols, SeriesEntry};

use crate::blocks::{Block, Part};
use crate::fetch_chunks::Wanted;

/// A series with the chunks to fetch for it.
#[derive(Debug, Clone)]
pub struct Selected {
    /// Labels, external ones included.
    pub labels: Labels,
    /// Chunks by block.
    pub chunks: Vec<Places>,
}

/// Chunks of one series in one block.
#[derive(Debug, Clone)]
pub struct Places {
    /// The block.
    pub block: Arc<Block>,
    /// Times and places, in order of time.
    pub metas: Vec<ChunkMeta>,
    /// The same places with what is known of their ends.
    pub wanted: Vec<Wanted>,
}

/// Series of a part that match and have chunks in its range, in order of labels; without chunks where `request` skips
/// them, and then no more than its limit. The inner error says that they are more than its bounds let through.
///
/// # Errors
/// [`TsdbError::Corrupt`] when the index is not sound.
pub fn select(
    part: &Part,
    index: &IndexReader,
    request: &SeriesRequest,
) -> Result<Result<Vec<Selected>, StoreError>, TsdbError> {
    // With chunks none may be left out: another block may have more of the series.
    let limit = if request.skip_chunks { request.limit } else { 0 };
    let mut bytes = 0;
    let (mut entry, mut known, mut buffer) = (SeriesEntry::default(), KnownSymbols::default(), Vec::new());
    let mut out: Vec<Selected> = Vec::new();
    for reference in index.select(&part.matchers)? {
        index.next_series(reference, &mut entry, &mut known)?;
        let mut places = Places { block: part.block.clone(), metas: Vec::new(), wanted: Vec::new() };
        for (i, meta) in entry.chunks.iter().enumerate().filter(|(_, m)| m.overlaps(part.min_ms, part.max_ms))
        {
            let next_place = entry.chunks.get(i + 1).map_or(0, |n| n.place);
            places.metas.push(*meta);
            places.wanted.push(Wanted { place: meta.place, next_place });
        }
        if places.metas.is_empty() {
            continue;
        }
        let labels = part.block.external.merge_with(entry.labels(), &mut buffer);
        bytes += labels.as_bytes().len();
        let chunks = if request.skip_chunks { Vec::new() } else { vec![places] };
        out.push(Selected { labels, chunks });
        if let Err(refused) = request.bounds.admit(out.len(), bytes, limit) {
            return Ok(Err(refused));
        }
        if out.len() == limit {
            break;
        }
    }
    // An external label may push a series past its neighbour.
    if !out.is_sorted_by(|a, b| a.labels <= b.labels) {
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
    Ok(Ok(out))
}

/// Sorted lists as one, each label set once.
pub fn merge(lists: Vec<Vec<Selected>>) -> Vec<Selected> {
    let mut sources: Vec<_> = lists.into_iter().map(|l| l.into_iter().peekable()).collect();
    let head = |s: &mut std::iter::Peekable<std::vec::IntoIter<Selected>>| s.peek().map(|x| x.labels.clone());
    let mut heap: BinaryHeap<Reverse<(Labels, usize)>> = BinaryHeap::new();
    for (i, s) in sources.iter_mut().enumerate() {
        heap.extend(head(s).map(|labels| Reverse((labels, i))));
    }
    let mut out: Vec<Selected> = Vec::new();
    while let Some(Reverse((_, i))) = heap.pop() {
        let next = sources[i].next().expect("its labels were in the heap");
        match out.last_mut() {
            Some(last) if last.labels == next.labels => last.chunks.extend(next.chunks),
            _ => out.push(next),
        }
        heap.extend(head(&mut sources[i]).map(|labels| Reverse((labels, i))));
    }
    out
}
