//! The stream of an answer: batch by batch, chunks are fetched for all series of the batch at once, block by block.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::storage::{Series, StoreError};
use cairn_model::{AggrChunk, Chunk, ChunkData, Encoding};
use cairn_tsdb::block::{aggr, segment::AGGR_ENCODING};
use cairn_tsdb::index::ChunkMeta;
use futures::{Stream, StreamExt, stream};
use ulid::Ulid;

use crate::blocks::Block;
use crate::failure::Failure;
use crate::fetch_chunks::{Chunks, Wanted, as_store_error, fetch};
use crate::select::Selected;
use crate::store::Inner;

/// Series of one batch; bounds the memory of an answer that nobody reads.
const BATCH_SERIES: usize = 1_000;
/// Chunks of one batch, when series have many.
const BATCH_CHUNKS: usize = 20_000;
/// Blocks of one batch that are read at once.
const BLOCKS_IN_FLIGHT: usize = 4;

struct State {
    inner: Arc<Inner>,
    rest: std::vec::IntoIter<Selected>,
    fetched_bytes: u64,
    /// Blocks that failed while this answer was made; what they hold is left out.
    damaged: BTreeMap<Ulid, Failure>,
    /// An error that ends the answer was given.
    ended: bool,
}

/// Series with their chunks; after all of them, an error for each block that was found damaged on the way.
pub(crate) fn stream(
    inner: Arc<Inner>,
    selected: Vec<Selected>,
) -> impl Stream<Item = Result<Vec<Series>, StoreError>> + Send + 'static {
    let state =
        State { inner, rest: selected.into_iter(), fetched_bytes: 0, damaged: BTreeMap::new(), ended: false };
    stream::unfold(state, |mut state| async move {
        if state.ended {
            return None;
        }
        let batch = state.next_batch();
        if batch.is_empty() {
            let (_, failure) = state.damaged.pop_first()?;
            return Some((Err(as_store_error(failure)), state));
        }
        let outcome = state.fill(batch).await;
        state.ended = outcome.is_err();
        Some((outcome, state))
    })
}

impl State {
    fn next_batch(&mut self) -> Vec<Selected> {
        let (mut batch, mut chunks) = (Vec::new(), 0);
        while batch.len() < BATCH_SERIES && chunks < BATCH_CHUNKS {
            let Some(s) = self.rest.next() else { break };
            chunks += s.chunks.iter().map(|p| p.metas.len()).sum::<usize>();
            batch.push(s);
        }
        batch
    }

    async fn fill(&mut self, batch: Vec<Selected>) -> Result<Vec<Series>, StoreError> {
        let mut wanted: BTreeMap<Ulid, (Arc<Block>, Vec<Wanted>)> = BTreeMap::new();
        for p in batch.iter().flat_map(|s| &s.chunks) {
            if !self.damaged.contains_key(&p.block.ulid()) {
                let of_block = wanted.entry(p.block.ulid()).or_insert_with(|| (p.block.clone(), Vec::new()));
                of_block.1.extend_from_slice(&p.wanted);
            }
        }
        let bucket = self.inner.bucket.clone();
        type Outcome = (Ulid, Result<(Chunks, u64), Failure>);
        let outcomes: Vec<Outcome> = stream::iter(wanted)
            .map(|(ulid, (block, wanted))| {
                let bucket = bucket.clone();
                async move { (ulid, fetch(&bucket, &block, wanted).await) }
            })
            .buffer_unordered(BLOCKS_IN_FLIGHT)
            .collect()
            .await;
        let mut chunks: BTreeMap<Ulid, Chunks> = BTreeMap::new();
        for (ulid, outcome) in outcomes {
            match outcome {
                Ok((fetched, bytes)) => {
                    self.charge(bytes)?;
                    chunks.insert(ulid, fetched);
                }
                Err(Failure::Passing(e)) => return Err(e),
                Err(failure) => self.set_aside(ulid, failure),
            }
        }
        Ok(batch.into_iter().filter_map(|s| self.assemble(s, &chunks)).collect())
    }

    fn charge(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.fetched_bytes += bytes;
        self.inner.metrics.chunk_bytes.inc_by(bytes);
        let limit = self.inner.config.max_chunk_bytes;
        if limit > 0 && self.fetched_bytes > limit {
            return Err(StoreError::LimitExceeded {
                what: "bytes of chunks".into(),
                needed: self.fetched_bytes,
                limit,
            });
        }
        Ok(())
    }

    fn set_aside(&mut self, ulid: Ulid, failure: Failure) {
        self.inner.note(&failure);
        self.damaged.insert(ulid, failure);
    }

    /// A series of the answer; `None` when all its chunks lie in damaged blocks.
    fn assemble(&mut self, s: Selected, chunks: &BTreeMap<Ulid, Chunks>) -> Option<Series> {
        let mut out: Vec<AggrChunk> = Vec::new();
        for p in &s.chunks {
            let ulid = p.block.ulid();
            let Some(fetched) = chunks.get(&ulid) else { continue };
            for meta in &p.metas {
                let (encoding, data) = &fetched[&meta.place];
                match to_aggr(meta, *encoding, data) {
                    Ok(chunk) => out.push(chunk),
                    Err(reason) => {
                        self.set_aside(
                            ulid,
                            Failure::Corrupt { ulid, reason: format!("{}: {reason}", s.labels) },
                        );
                        break;
                    }
                }
            }
        }
        out.sort_by_key(|c| (c.min_ms(), c.max_ms()));
        (!out.is_empty()).then_some(Series { labels: s.labels, chunks: out })
    }
}

fn to_aggr(meta: &ChunkMeta, encoding: u8, data: &bytes::Bytes) -> Result<AggrChunk, String> {
    let (min_ms, max_ms) = (meta.min_ms, meta.max_ms);
    if let Some(encoding) = Encoding::from_byte(encoding) {
        return Ok(AggrChunk::Raw(Chunk {
            min_ms,
            max_ms,
            data: ChunkData::Encoded(encoding, data.clone()),
        }));
    }
    if encoding != AGGR_ENCODING {
        return Err(format!("chunk encoding {encoding} is not known"));
    }
    aggr::read(min_ms, max_ms, data).map(|a| AggrChunk::Downsampled(Box::new(a))).map_err(|m| m.to_string())
}
