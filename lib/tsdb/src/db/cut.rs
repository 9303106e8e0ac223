//! Cutting a sealed generation of a window into a block.
//!
//! Series of all partitions are visited in order of their labels; chunks pass through undecoded unless side samples
//! must be merged in. Nothing is held for the whole block but one number a series and the block's symbols.
//!
//! Invariant: the block holds exactly the samples of the generation, each once.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::path::Path;

use cairn_model::LabelsRef;
use cairn_runtime::Disk;

use crate::block::{BlockChunk, BlockOptions, BlockWriter};
use crate::chunkenc::CutRule;
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::side::PartKey;
use crate::head::state::SLICE;
use crate::head::tenant::Tenant;
use crate::index::SymbolSet;
use crate::meta::BlockMeta;

/// A series with samples in the generation.
struct Entry {
    labels: Vec<u8>,
    partition: usize,
    slot: u32,
    /// Position in its partition's order.
    at: usize,
}

/// Writes the block that `meta` describes below `dir`; `None` when the generation holds no sample.
///
/// # Errors
/// As [`BlockWriter`]; what was written is removed then.
pub fn cut(
    head: &Head,
    tenant: &Tenant,
    key: PartKey,
    (disk, dir): (&dyn Disk, &Path),
    meta: BlockMeta,
) -> Result<Option<BlockMeta>, TsdbError> {
    let (orders, symbols) = sorted_series(head, tenant, key);
    if orders.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    let mut writer = BlockWriter::create(disk, dir, meta, symbols, BlockOptions::default())?;
    match write_series(head, key, &orders, &mut writer) {
        Ok(()) => writer.finish().map(Some),
        Err(e) => {
            writer.abandon();
            Err(e)
        }
    }
}

/// Slots of series with samples in the generation, by partition and in order of labels, and the symbols they need.
fn sorted_series(head: &Head, tenant: &Tenant, key: PartKey) -> (Vec<Vec<u32>>, SymbolSet) {
    let mut symbols = SymbolSet::default();
    let mut orders = Vec::new();
    for partition in &head.partitions {
        let slots: Vec<u32> = {
            let partition = partition.read();
            partition.tenant(tenant.number).map(|t| t.all.iter().collect()).unwrap_or_default()
        };
        let mut with_data = Vec::new();
        for slice in slots.chunks(SLICE) {
            let partition = partition.read();
            with_data.extend(slice.iter().filter(|s| partition.has_generation(**s, key)).copied());
        }
        let partition = partition.read();
        partition.sort_by_labels(tenant.number, &mut with_data);
        partition.each_pair(tenant.number, &with_data, |name, value| {
            symbols.insert(name);
            symbols.insert(value);
        });
        orders.push(with_data);
    }
    (orders, symbols)
}

fn write_series(
    head: &Head,
    key: PartKey,
    orders: &[Vec<u32>],
    writer: &mut BlockWriter<'_>,
) -> Result<(), TsdbError> {
    let entry = |partition: usize, at: usize| -> Option<Entry> {
        let slot = *orders[partition].get(at)?;
        let mut labels = Vec::new();
        head.partitions[partition].read().write_labels(slot, &mut labels);
        Some(Entry { labels, partition, slot, at })
    };
    let mut next: BinaryHeap<Entry> = (0..orders.len()).filter_map(|p| entry(p, 0)).collect();
    while let Some(e) = next.pop() {
        let chunks = head.partitions[e.partition].read().gather_generation(e.slot, key);
        if let Some(chunks) = chunks {
            let chunks: Vec<BlockChunk> =
                chunks.iter().flat_map(|c| BlockChunk::from_chunk(c, CutRule::default())).collect();
            writer.add_series(LabelsRef::from_canonical(&e.labels), &chunks)?;
        }
        next.extend(entry(e.partition, e.at + 1));
    }
    Ok(())
}

/// The heap gives the least labels first.
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        LabelsRef::from_canonical(&other.labels).cmp(&LabelsRef::from_canonical(&self.labels))
    }
}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
