//! Cutting a sealed generation of a window into a block, with those before it that are not released.
//!
//! Series of all partitions are visited in order of their labels; chunks pass through undecoded unless side samples
//! must be merged in, or short ones joined ([`super::join`]). Nothing is held for the whole block but one number a series
//! and the block's symbols.
//!
//! The caller sees to it that no series leaves the head meanwhile, so slots and pair numbers keep their meaning.
//!
//! Invariant: the block holds exactly the samples of the generation, each once.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::path::Path;

use cairn_model::{Encoding, LabelsRef, TimestampMs, Value};
use cairn_runtime::Disk;
use parking_lot::RwLock;

use super::join::join_short;
use crate::block::{BlockChunk, BlockOptions, BlockReader, BlockWriter};
use crate::chunkenc::{ChunkDecoder, CutRule};
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::order;
use crate::head::pairs::PairId;
use crate::head::partition::Partition;
use crate::head::side::Generations;
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
    which: &Generations,
    (disk, dir): (&dyn Disk, &Path),
    meta: BlockMeta,
) -> Result<Option<BlockMeta>, TsdbError> {
    check_files(head, tenant, which)?;
    let (orders, symbols) = sorted_series(head, tenant, which);
    if orders.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    let mut writer = BlockWriter::create(disk, dir, meta, symbols, BlockOptions::default())?;
    let written = visit_series(head, which, &orders, |labels, mut chunks| {
        join_short(&mut chunks).map_err(|m| TsdbError::malformed(format!("a chunk of {labels}"), 0, m))?;
        writer.add_series(labels, &chunks)
    });
    match written {
        Ok(()) => writer.finish().map(Some),
        Err(e) => {
            writer.abandon();
            Err(e)
        }
    }
}

/// Head-chunk files were written long ago: what is cut from them must be what was in memory then, because the log goes
/// when the block is verified.
fn check_files(head: &Head, tenant: &Tenant, which: &Generations) -> Result<(), TsdbError> {
    for (index, partition) in head.partitions.iter().enumerate() {
        let files = partition.read().chunks.full.written_of(tenant.number, which.window);
        for (number, content, crc) in files {
            if crc32c::crc32c(&content) != crc {
                let object = format!("head-chunk file {number} of partition {index}");
                let what = "its content changed on the disk; start again, the log has its samples";
                return Err(TsdbError::corrupt(object, 0, what));
            }
        }
    }
    Ok(())
}

/// Slots of series with samples in the generation, by partition and in order of labels, and the symbols they need.
/// No lock is held longer than a slice takes: what is sorted was copied.
fn sorted_series(head: &Head, tenant: &Tenant, which: &Generations) -> (Vec<Vec<u32>>, SymbolSet) {
    let mut symbols = SymbolSet::default();
    let orders = head.partitions.iter().map(|p| sorted_partition(p, tenant, which, &mut symbols)).collect();
    (orders, symbols)
}

fn sorted_partition(
    partition: &RwLock<Partition>,
    tenant: &Tenant,
    which: &Generations,
    symbols: &mut SymbolSet,
) -> Vec<u32> {
    let slots: Vec<u32> = {
        let partition = partition.read();
        partition.tenant(tenant.number).map(|t| t.all.iter().collect()).unwrap_or_default()
    };
    // 1 for pairs that occur; their ranks then.
    let mut ranks = vec![0u32; partition.read().pairs_end(tenant.number) as usize];
    let mut series: Vec<Sorting> = Vec::with_capacity(slots.len());
    for slice in slots.chunks(SLICE) {
        let partition = partition.read();
        for &slot in slice.iter().filter(|slot| partition.has_generations(**slot, which)) {
            let pairs = partition.pairs_of(slot);
            pairs.iter().for_each(|pair| ranks[*pair as usize] = 1);
            series.push(Sorting { first: pairs.first().copied(), slot });
        }
    }
    drop(slots);
    rank(partition, tenant, &mut ranks, symbols);
    series.sort_unstable_by_key(|s| s.first.map(|pair| ranks[pair as usize]));
    for alike in series.chunk_by_mut(|a, b| a.first == b.first) {
        sort_alike(partition, alike, &ranks);
    }
    series.into_iter().map(|s| s.slot).collect()
}

/// A series that is being sorted.
struct Sorting {
    /// Its first label: the name of its metric, as a rule.
    first: Option<PairId>,
    slot: u32,
}

/// Sorts series that have the same first label. Only their labels are copied at a time, not those of a whole partition.
fn sort_alike(partition: &RwLock<Partition>, alike: &mut [Sorting], ranks: &[u32]) {
    // Ranks of labels, series after series.
    let mut labels: Vec<u32> = Vec::new();
    let mut lists: Vec<(Range<usize>, u32)> = Vec::with_capacity(alike.len());
    for slice in alike.chunks(SLICE) {
        let partition = partition.read();
        for series in slice {
            let begin = labels.len();
            labels.extend(partition.pairs_of(series.slot).iter().map(|pair| ranks[*pair as usize]));
            lists.push((begin..labels.len(), series.slot));
        }
    }
    lists.sort_unstable_by(|a, b| labels[a.0.clone()].cmp(&labels[b.0.clone()]));
    for (place, (_, slot)) in alike.iter_mut().zip(lists) {
        place.slot = slot;
    }
}

/// Ranks pairs by (name, value): `ranks` is 1 for those that occur, and their rank then. Their texts become symbols.
fn rank(partition: &RwLock<Partition>, tenant: &Tenant, ranks: &mut [u32], symbols: &mut SymbolSet) {
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
}

/// Whether `block` holds every sample of the generation, or a greater value for its time: then it stands for the
/// generation, whoever wrote it. A block of the same window and generation need not: the fence before it may have been
/// lost with a damaged stretch of the log.
///
/// # Errors
/// [`TsdbError::Corrupt`] when the block is not sound.
pub fn holds(
    head: &Head,
    tenant: &Tenant,
    which: &Generations,
    block: &BlockReader,
) -> Result<bool, TsdbError> {
    let (orders, _) = sorted_series(head, tenant, which);
    let mut there = block.select(&[], TimestampMs::MIN, TimestampMs::MAX)?.peekable();
    let mut holds = true;
    visit_series(head, which, &orders, |labels, chunks| {
        while holds && there.next_if(|b| b.as_ref().is_ok_and(|b| b.labels.as_ref() < labels)).is_some() {}
        if holds {
            holds = match there
                .next_if(|b| b.as_ref().is_err() || b.as_ref().is_ok_and(|b| b.labels.as_ref() == labels))
            {
                Some(of_block) => covers(&samples_of(&of_block?.chunks, block)?, samples_of(&chunks, block)?),
                None => false,
            };
        }
        Ok(())
    })?;
    Ok(holds)
}

/// Whether each of `wanted` has a sample of its time and at least its value among `held`.
fn covers(held: &BTreeMap<TimestampMs, Value>, wanted: BTreeMap<TimestampMs, Value>) -> bool {
    wanted.iter().all(|(t, value)| held.get(t).is_some_and(|there| order::compare(there, value).is_ge()))
}

fn samples_of(chunks: &[BlockChunk], block: &BlockReader) -> Result<BTreeMap<TimestampMs, Value>, TsdbError> {
    let object = || block.folder().display().to_string();
    let mut samples = BTreeMap::new();
    for chunk in chunks {
        let Some(encoding) = Encoding::from_byte(chunk.encoding) else { continue };
        for sample in ChunkDecoder::new(encoding, &chunk.data) {
            let sample = sample.map_err(|m| TsdbError::malformed(object(), 0, m))?;
            samples.insert(sample.t_ms, sample.value);
        }
    }
    Ok(samples)
}

/// Calls `visit` for the series of all partitions, in order of labels.
fn visit_series(
    head: &Head,
    which: &Generations,
    orders: &[Vec<u32>],
    mut visit: impl FnMut(LabelsRef<'_>, Vec<BlockChunk>) -> Result<(), TsdbError>,
) -> Result<(), TsdbError> {
    let entry = |partition: usize, at: usize| -> Option<Entry> {
        let slot = *orders[partition].get(at)?;
        let mut labels = Vec::new();
        head.partitions[partition].read().write_labels(slot, &mut labels);
        Some(Entry { labels, partition, slot, at })
    };
    let mut next: BinaryHeap<Entry> = (0..orders.len()).filter_map(|p| entry(p, 0)).collect();
    while let Some(e) = next.pop() {
        let chunks = head.partitions[e.partition].read().gather_generations(e.slot, which);
        if let Some(chunks) = chunks {
            let chunks = chunks.iter().flat_map(|c| BlockChunk::from_chunk(c, CutRule::default())).collect();
            visit(LabelsRef::from_canonical(&e.labels), chunks)?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use cairn_model::{Labels, TenantId, WriteBatch};
    use cairn_runtime::{MemDisk, Rng};

    use super::*;
    use crate::head::HeadOptions;
    use crate::head::partition::Verdicts;
    use crate::head::state::Split;

    const WINDOW_MS: i64 = 10_000_000;

    /// A head with one full chunk, which lies in a file whose content is what `change` makes of it.
    fn head_with_file(change: impl Fn(&mut Vec<u8>)) -> (Head, Arc<Tenant>) {
        let options = HeadOptions {
            window_ms: WINDOW_MS,
            partitions: 1,
            external_labels: Labels::empty(),
            exemplars: 0,
            series_limit: Arc::new(|_| 0),
        };
        let head = Head::new(options, &Rng::from_seed(1));
        let tenant = head.tenants.get_or_add(&TenantId::default_tenant());
        let mut batch = WriteBatch::new(TenantId::default_tenant());
        let samples: Vec<_> = (0..130).map(|i| (i * 1_000, i as f64)).collect();
        batch.push_floats(Labels::from_pairs([("__name__", "m")]).unwrap().as_ref(), &samples);
        head.apply(&tenant, &batch, 1, &mut Split::default(), &mut Verdicts::default());
        head.leave_window(&tenant, 0);
        head.close(&tenant, 0, 0);
        {
            let full = &mut head.partitions[0].write().chunks.full;
            full.cut_file();
            for (number, content) in full.unwritten() {
                let mut on_disk = content.to_vec();
                change(&mut on_disk);
                full.written(number, Bytes::from(on_disk), crc32c::crc32c(&content));
            }
        }
        (head, tenant)
    }

    fn cut_it((head, tenant): (Head, Arc<Tenant>)) -> Result<Option<BlockMeta>, TsdbError> {
        let disk = MemDisk::new();
        let which = Generations { window: 0, from: 0, through: 0 };
        let meta = BlockMeta::new(ulid::Ulid(1), 0, WINDOW_MS);
        cut(&head, &tenant, &which, (&disk, Path::new("/blocks")), meta)
    }

    #[test]
    fn a_window_is_not_cut_from_a_head_chunk_file_that_changed_on_the_disk() {
        let whole = cut_it(head_with_file(|_| {})).unwrap().expect("it has samples");
        assert_eq!(whole.stats.num_samples, 130);
        let damaged = cut_it(head_with_file(|content| content[60] ^= 1));
        let text = damaged.expect_err("the log has its samples").to_string();
        assert!(text.contains("head-chunk file 1 of partition 0") && text.contains("start again"), "{text}");
    }
}
