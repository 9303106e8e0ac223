//! Memory that one request leaves for the next: the batch that the store gave back, lists and tables.
//!
//! Fresh memory costs a page fault for every 4 KiB that is touched; at 2,000 samples a request that was a fifth of
//! the cost of filling (`write_path_bench`).

use std::ops::Range;
use std::sync::Arc;

use cairn_model::{TenantId, WriteBatch};
use parking_lot::Mutex;

use crate::fill::Trail;
use crate::wire_keys::SymbolHash;

/// Sets that rest. As many as there are requests between reading and answering on a few cores.
const KEPT: usize = 32;
/// Series above which a set is let go: a request of such a size is rare, and its memory is large.
const KEPT_SERIES: usize = 16_384;

/// One request's working memory.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The batch, if the store gave one back.
    pub batch: Option<Box<WriteBatch>>,
    /// Lists beside the batch.
    pub trail: Trail,
    /// Ranges of symbols of 2.0.
    pub ranges: Vec<Range<u32>>,
    /// Hashes of symbols of 2.0.
    pub hashes: Vec<SymbolHash>,
}

impl Scratch {
    /// An empty batch of `tenant`, with the memory of the last one.
    pub fn take_batch(&mut self, tenant: &TenantId) -> WriteBatch {
        match self.batch.take() {
            Some(mut batch) => {
                batch.clear(tenant.clone());
                *batch
            }
            None => WriteBatch::new(tenant.clone()),
        }
    }

    fn is_small(&self) -> bool {
        let batch = self.batch.as_ref().is_none_or(|b| {
            let loose = b.histograms.len().max(b.exemplars.len()).max(b.metadata.len());
            b.series.capacity().max(b.floats.t_ms.capacity()).max(b.arena.capacity() / 64).max(loose)
                <= KEPT_SERIES
        });
        batch && self.trail.capacity() <= KEPT_SERIES && self.hashes.capacity() <= KEPT_SERIES
    }
}

/// Working memory at rest; clones share it.
#[derive(Clone, Default)]
pub struct ScratchPool {
    resting: Arc<Mutex<Vec<Scratch>>>,
}

impl ScratchPool {
    /// Memory of an earlier request, or none.
    pub fn take(&self) -> Scratch {
        self.resting.lock().pop().unwrap_or_default()
    }

    /// Leaves memory for the next request; the content of the batch is dropped now.
    pub fn give(&self, mut scratch: Scratch) {
        if !scratch.is_small() {
            return;
        }
        if let Some(batch) = &mut scratch.batch {
            let tenant = batch.tenant.clone();
            batch.clear(tenant);
        }
        scratch.trail.clear();
        let mut resting = self.resting.lock();
        if resting.len() < KEPT {
            resting.push(scratch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(series: usize) -> Scratch {
        let mut batch = WriteBatch::new(TenantId::default_tenant());
        batch.series.resize(series, cairn_model::batch::BatchSeries::default());
        Scratch { batch: Some(Box::new(batch)), ..Scratch::default() }
    }

    #[test]
    fn memory_comes_back_empty_and_giants_do_not() {
        let pool = ScratchPool::default();
        pool.give(scratch(KEPT_SERIES * 2));
        assert!(pool.take().batch.is_none());
        pool.give(scratch(100));
        let tenant = TenantId::new("other").unwrap();
        let batch = pool.take().take_batch(&tenant);
        assert_eq!((batch.series.len(), batch.series.capacity() >= 100, batch.tenant), (0, true, tenant));
        (0..100).for_each(|_| pool.give(scratch(1)));
        assert_eq!(pool.resting.lock().len(), KEPT);
    }
}
