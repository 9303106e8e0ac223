//! Merging blocks: series of all inputs in order of labels, chunks passed through undecoded wherever they do not
//! overlap.
//!
//! [`series`] walks the inputs side by side, [`chunks`] joins the chunks of one series. Memory: one series at a
//! time, and the texts of all symbols.
//!
//! Invariant: the output holds exactly the union of the inputs' samples; where two inputs have different values
//! for one time, the greater by the storage engine's total order.

pub mod chunks;
pub mod series;

use std::path::Path;

use cairn_runtime::Disk;
use cairn_tsdb::block::{BlockOptions, BlockReader, BlockWriter};
use cairn_tsdb::index::SymbolSet;
use cairn_tsdb::meta::{BlockDesc, BlockMeta, Compaction};
use tracing::info;
use ulid::Ulid;

use crate::error::{CompactError, Result};
use series::MergedSeries;

/// A merge tells how far it is each time it has written so many series.
const PROGRESS_SERIES: u64 = 250_000;

/// What a merge did with chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeStats {
    /// Chunks copied as they were.
    pub passed_through: u64,
    /// Chunks dropped because an equal one was there.
    pub equal: u64,
    /// Chunks decoded because they overlapped others.
    pub decoded: u64,
}

/// Writes the union of `inputs` as block `ulid` below `parent`. `None` when the inputs have no samples at all;
/// then nothing is written. `stop` is asked after each series.
///
/// # Errors
/// [`CompactError::BadBlock`] naming the input that is not sound, [`CompactError::Output`],
/// [`CompactError::ShuttingDown`].
pub fn merge_blocks(
    disk: &dyn Disk,
    inputs: &[BlockReader],
    parent: &Path,
    ulid: Ulid,
    stop: &dyn Fn() -> bool,
) -> Result<Option<(BlockMeta, MergeStats)>> {
    let mut symbols = SymbolSet::new();
    for input in inputs {
        for text in input.index().symbols().iter() {
            symbols.insert(text);
        }
    }
    let meta = merged_meta(ulid, inputs);
    let options = BlockOptions { tombstones: false, ..BlockOptions::default() };
    let mut writer =
        BlockWriter::create(disk, parent, meta, symbols, options).map_err(CompactError::Output)?;
    match copy_series(inputs, &mut writer, stop) {
        Ok(stats) => {
            let ulid_dir = parent.join(ulid.to_string());
            let meta = writer.finish().map_err(CompactError::Output)?;
            if meta.stats.num_samples == 0 {
                let local = |source| CompactError::Local { path: ulid_dir.display().to_string(), source };
                disk.remove_dir_all(&ulid_dir).map_err(local)?;
                return Ok(None);
            }
            Ok(Some((meta, stats)))
        }
        Err(e) => {
            writer.abandon();
            Err(e)
        }
    }
}

fn copy_series(
    inputs: &[BlockReader],
    writer: &mut BlockWriter<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<MergeStats> {
    let mut merged = MergedSeries::new(inputs)?;
    let (mut out, mut stats, mut series) = (Vec::new(), MergeStats::default(), 0u64);
    while let Some(labels) = merged.next()? {
        if stop() {
            return Err(CompactError::ShuttingDown);
        }
        series += 1;
        if series.is_multiple_of(PROGRESS_SERIES) {
            info!(series, "merging");
        }
        chunks::join(merged.chunks(), &mut out, &mut stats).map_err(|(input, reason)| {
            CompactError::BadBlock { ulid: inputs[input].meta().ulid, reason: format!("{labels}: {reason}") }
        })?;
        if !out.is_empty() {
            writer.add_series(labels.as_ref(), &out).map_err(CompactError::Output)?;
        }
    }
    Ok(stats)
}

/// The description of the union, as Prometheus and Thanos write it.
pub fn merged_meta(ulid: Ulid, inputs: &[BlockReader]) -> BlockMeta {
    let metas = || inputs.iter().map(BlockReader::meta);
    let min = metas().map(|m| m.min_time).min().unwrap_or(0);
    let max = metas().map(|m| m.max_time).max().unwrap_or(0);
    let mut meta = BlockMeta::new(ulid, min, max);
    let mut sources: Vec<Ulid> = metas().flat_map(|m| m.compaction.sources.iter().copied()).collect();
    sources.sort_unstable();
    sources.dedup();
    let mut hints: Vec<String> = metas().flat_map(|m| m.compaction.hints.iter().cloned()).collect();
    hints.sort_unstable();
    hints.dedup();
    meta.compaction = Compaction {
        level: metas().map(|m| m.compaction.level).max().unwrap_or(0) + 1,
        sources,
        parents: metas()
            .map(|m| BlockDesc { ulid: m.ulid, min_time: m.min_time, max_time: m.max_time })
            .collect(),
        hints,
        ..Compaction::default()
    };
    meta.thanos = inputs.first().and_then(|b| b.meta().thanos.clone()).map(|mut t| {
        t.files.clear();
        t.segment_files.clear();
        t.index_stats = Default::default();
        t.rewrites = metas().filter_map(|m| m.thanos.as_ref()).flat_map(|t| t.rewrites.clone()).collect();
        // Another block's extensions say nothing of this one.
        t.extensions = None;
        t.upload_time = None;
        t
    });
    meta
}
