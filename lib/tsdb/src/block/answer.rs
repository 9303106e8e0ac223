//! One answer of the local blocks: the series of all of them in one order, their chunks read as the reader goes on.
//!
//! A [`Cursor`] has found a block's series, with the places of their chunks, before the first is answered; [`Merge`]
//! gives the series that come first by labels. Blocks of one node hold mostly the same series, so the cursors are
//! compared for equality before order.
//!
//! Invariant: labels rise (two series of one block that external labels make alike follow one another), chunks of a series are in order of their start. A block that turns out not to be
//! sound is set aside; where its copy was left out elsewhere, the answer ends with an error that names it.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use cairn_model::storage::{Series, SeriesRequest, StoreError};
use cairn_model::{AggrChunk, LabelsRef, Matcher};

use super::store::{BlockStore, OpenBlock};
use crate::error::TsdbError;
use crate::index::{ChunkMeta, KnownSymbols, SeriesEntry};

/// Why a block gives no part of an answer.
pub(super) enum Unopened {
    /// It is not sound, or cannot be read.
    Broken(TsdbError),
    /// The request's bounds do not let it.
    Refused(StoreError),
}

impl From<TsdbError> for Unopened {
    fn from(e: TsdbError) -> Self {
        Unopened::Broken(e)
    }
}

/// One block's part of an answer: its series in order of labels, external labels included.
pub(super) struct Cursor {
    block: Arc<OpenBlock>,
    series: std::vec::IntoIter<Found>,
    /// Labels in canonical form, series after series: of blocks that hold the same series, one cursor's are answered.
    texts: Vec<u8>,
    /// Chunks that overlap the range, series after series.
    metas: Vec<ChunkMeta>,
}

/// A series that matches and has chunks in the range.
struct Found {
    labels: Range<usize>,
    reference: u32,
    metas: Range<usize>,
}

impl Cursor {
    /// Finds the series of `block`.
    ///
    /// # Errors
    /// See [`Unopened`].
    pub(super) fn open(
        block: &Arc<OpenBlock>,
        matchers: &[Matcher],
        request: &SeriesRequest,
    ) -> Result<Self, Unopened> {
        let index = block.reader.index();
        let (mut entry, mut known) = (SeriesEntry::default(), KnownSymbols::default());
        let (mut texts, mut metas) = (Vec::new(), Vec::new());
        let selected = index.select(matchers)?;
        // Of labels alone none past the limit is needed. With chunks all are: another block may have more of them.
        let limit = if request.skip_chunks { request.limit } else { 0 };
        let most = if limit == 0 { usize::MAX } else { limit };
        let mut series = Vec::with_capacity(selected.len().min(most));
        for reference in selected {
            if series.len() == most {
                break;
            }
            index.next_series(reference, &mut entry, &mut known)?;
            let begin = metas.len();
            let overlaps = |c: &&ChunkMeta| c.overlaps(request.min_ms, request.max_ms);
            // Chunks are in order of time and mostly all wanted: a stretch is copied as a whole.
            let first = entry.chunks.iter().position(|c| overlaps(&c)).unwrap_or(entry.chunks.len());
            let wanted = &entry.chunks[first..];
            let wanted = &wanted[..wanted.partition_point(|c| overlaps(&c))];
            if !request.skip_chunks {
                metas.extend_from_slice(wanted);
            }
            if !wanted.is_empty() {
                let text = texts.len();
                block.external.append_merged(entry.labels(), &mut texts);
                series.push(Found { labels: text..texts.len(), reference, metas: begin..metas.len() });
                request.bounds.admit(series.len(), texts.len(), limit).map_err(Unopened::Refused)?;
            }
        }
        let labels = |found: &Found| LabelsRef::from_canonical(&texts[found.labels.clone()]);
        // External labels may push a series past its neighbour.
        if !series.is_sorted_by(|a, b| labels(a) <= labels(b)) {
            series.sort_by(|a, b| labels(a).cmp(&labels(b)));
        }
        Ok(Cursor { block: block.clone(), series: series.into_iter(), texts, metas })
    }

    /// Labels of the next series.
    fn labels(&self) -> Option<LabelsRef<'_>> {
        let found = self.series.as_slice().first()?;
        Some(LabelsRef::from_canonical(&self.texts[found.labels.clone()]))
    }

    fn read(
        &self,
        found: &Found,
        request: &SeriesRequest,
        out: &mut Vec<AggrChunk>,
    ) -> Result<(), TsdbError> {
        let (reader, metas) = (&self.block.reader, &self.metas[found.metas.clone()]);
        out.reserve(metas.len());
        for chunk in reader.chunks_of(found.reference, metas, request.min_ms, request.max_ms)? {
            out.push(reader.to_aggr(&chunk)?);
        }
        Ok(())
    }
}

/// Merges the cursors' series, one entry a label set.
pub(super) struct Merge {
    store: BlockStore,
    request: Arc<SeriesRequest>,
    cursors: Vec<Option<Cursor>>,
    /// Cursors whose next series is the answer's next.
    next: Vec<usize>,
    given: usize,
    lost: Vec<StoreError>,
}

impl Merge {
    /// Over the blocks that could be opened; `lost` tells of those that could not.
    pub(super) fn new(
        store: BlockStore,
        request: Arc<SeriesRequest>,
        cursors: Vec<Cursor>,
        lost: Vec<StoreError>,
    ) -> Self {
        let cursors = cursors.into_iter().map(Some).collect();
        Merge { store, request, cursors, next: Vec::new(), given: 0, lost }
    }

    /// The store that answers.
    pub(super) fn store(&self) -> &BlockStore {
        &self.store
    }

    /// Once all series were given: what the answer had to do without.
    pub(super) fn into_losses(self) -> Vec<StoreError> {
        self.lost
    }

    /// Finds the cursors whose next series comes first. O(blocks): a node has some dozens at most.
    fn find_next(&mut self) {
        self.next.clear();
        let mut least: Option<LabelsRef<'_>> = None;
        for (i, cursor) in self.cursors.iter().enumerate() {
            let Some(labels) = cursor.as_ref().and_then(Cursor::labels) else { continue };
            let order = least.map_or(Ordering::Less, |known| {
                if known == labels { Ordering::Equal } else { labels.cmp(&known) }
            });
            if order == Ordering::Less {
                self.next.clear();
                least = Some(labels);
            }
            if order != Ordering::Greater {
                self.next.push(i);
            }
        }
    }

    /// Takes the next series of cursor `i`: its chunks into `chunks`.
    fn take_next(&mut self, i: usize, chunks: &mut Vec<AggrChunk>) {
        let Some(cursor) = self.cursors[i].as_mut() else { return };
        let Some(found) = cursor.series.next() else { return };
        if !self.request.skip_chunks {
            let had = chunks.len();
            if let Err(e) = cursor.read(&found, &self.request, chunks) {
                chunks.truncate(had);
                self.store.quarantine(cursor.block.reader.meta().ulid, &e);
                self.lost.extend(cursor.block.loss(e.to_string()));
                self.cursors[i] = None;
            }
        }
    }
}

/// The series of all blocks.
impl Iterator for Merge {
    type Item = Series;

    fn next(&mut self) -> Option<Series> {
        loop {
            if self.request.limit > 0 && self.given == self.request.limit {
                return None;
            }
            self.find_next();
            let first = self.cursors[*self.next.first()?].as_ref()?;
            let (labels, mut chunks) = (first.labels()?.to_labels(), Vec::new());
            for at in 0..self.next.len() {
                self.take_next(self.next[at], &mut chunks);
            }
            if !chunks.is_sorted_by_key(|c| (c.min_ms(), c.max_ms())) {
                chunks.sort_by_key(|c| (c.min_ms(), c.max_ms()));
            }
            // Everything of it in range may be deleted.
            if self.request.skip_chunks || !chunks.is_empty() {
                self.given += 1;
                return Some(Series { labels, chunks });
            }
        }
    }
}
