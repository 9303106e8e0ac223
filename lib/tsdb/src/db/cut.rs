//! Cutting a sealed generation of a window into a block.
//!
//! Series of all partitions are visited in order of their labels; chunks pass through undecoded unless side samples
//! must be merged in. Nothing is held for the whole block but one number a series and the block's symbols.
//!
//! The caller sees to it that no series leaves the head meanwhile, so slots and pair numbers keep their meaning.
//!
//! Invariant: the block holds exactly the samples of the generation, each once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::path::Path;

use cairn_model::LabelsRef;
use cairn_runtime::Disk;
use parking_lot::RwLock;

use crate::block::{BlockChunk, BlockOptions, BlockWriter};
use crate::chunkenc::CutRule;
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::pairs::PairId;
use crate::head::partition::Partition;
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
/// No lock is held longer than a slice takes: what is sorted was copied.
fn sorted_series(head: &Head, tenant: &Tenant, key: PartKey) -> (Vec<Vec<u32>>, SymbolSet) {
    let mut symbols = SymbolSet::default();
    let orders = head.partitions.iter().map(|p| sorted_partition(p, tenant, key, &mut symbols)).collect();
    (orders, symbols)
}

fn sorted_partition(
    partition: &RwLock<Partition>,
    tenant: &Tenant,
    key: PartKey,
    symbols: &mut SymbolSet,
) -> Vec<u32> {
    let slots: Vec<u32> = {
        let partition = partition.read();
        partition.tenant(tenant.number).map(|t| t.all.iter().collect()).unwrap_or_default()
    };
    // Pair numbers, then ranks, of series after series.
    let (mut labels, mut series): (Vec<u32>, Vec<(u32, Range<usize>)>) = (Vec::new(), Vec::new());
    for slice in slots.chunks(SLICE) {
        let partition = partition.read();
        for &slot in slice.iter().filter(|slot| partition.has_generation(**slot, key)) {
            let begin = labels.len();
            labels.extend_from_slice(partition.pairs_of(slot));
            series.push((slot, begin..labels.len()));
        }
    }
    let ranks = ranks_of(partition, tenant, &labels, symbols);
    labels.iter_mut().for_each(|pair| *pair = ranks[*pair as usize]);
    series.sort_unstable_by(|a, b| labels[a.1.clone()].cmp(&labels[b.1.clone()]));
    series.into_iter().map(|s| s.0).collect()
}

/// Ranks by (name, value) of the pairs that occur, by pair number. Their texts become symbols.
fn ranks_of(
    partition: &RwLock<Partition>,
    tenant: &Tenant,
    pairs: &[PairId],
    symbols: &mut SymbolSet,
) -> Vec<u32> {
    let mut ranks = vec![0u32; pairs.iter().max().map_or(0, |m| *m as usize + 1)];
    pairs.iter().for_each(|pair| ranks[*pair as usize] = 1);
    let distinct: Vec<PairId> = (0..ranks.len() as u32).filter(|pair| ranks[*pair as usize] == 1).collect();
    let mut texts: Vec<(u32, Box<str>, PairId)> = Vec::with_capacity(distinct.len());
    let mut names: BTreeMap<Box<str>, u32> = BTreeMap::new();
    for slice in distinct.chunks(SLICE) {
        let partition = partition.read();
        let Some(index) = partition.tenant(tenant.number) else { continue };
        for &pair in slice {
            let (name, value) = index.pairs.text(pair);
            let next = names.len() as u32;
            let name = match names.get(name) {
                Some(number) => *number,
                None => *names.entry(name.into()).or_insert(next),
            };
            texts.push((name, value.into(), pair));
        }
    }
    let mut order_of_name = vec![0u32; names.len()];
    for (order, (name, number)) in (0u32..).zip(&names) {
        symbols.insert(name);
        order_of_name[*number as usize] = order;
    }
    texts.sort_unstable_by(|a, b| {
        order_of_name[a.0 as usize].cmp(&order_of_name[b.0 as usize]).then_with(|| a.1.cmp(&b.1))
    });
    for (rank, (_, value, pair)) in (0u32..).zip(&texts) {
        symbols.insert(value);
        ranks[*pair as usize] = rank;
    }
    ranks
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
