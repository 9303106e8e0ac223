//! Downsampling: a block of raw samples, or of aggregates, becomes a block of coarser aggregates, byte-compatible
//! with Thanos'.
//!
//! [`batch`] says how many chunks come out and where windows end; [`float`] and [`histogram`] aggregate raw
//! samples, [`aggregates`] aggregates of aggregates. A chunk holds five slots (count, sum, min, max, counter).
//!
//! Invariants: the aggregate of a window stands at its last millisecond, or at the batch's last sample where that
//! is earlier, so no chunk reaches past the samples it was made of; the counter slot begins with the true first and
//! ends with the true last raw value, so a reader sees resets between chunks. NaN, stale markers included, are left
//! out. Source: reference of Thanos' downsampling.

pub mod aggregates;
pub mod batch;
pub mod float;
pub mod histogram;

use std::path::Path;
use std::sync::Arc;

use cairn_model::chunk::Aggregates;
use cairn_model::{Encoding, FloatHistogram, TimestampMs, Value};
use cairn_runtime::Disk;
use cairn_tsdb::block::segment::AGGR_ENCODING;
use cairn_tsdb::block::{BlockChunk, BlockOptions, BlockReader, BlockWriter, aggr};
use cairn_tsdb::chunkenc::{ChunkDecoder, decode_floats};
use cairn_tsdb::index::{SeriesEntry, SymbolSet};
use cairn_tsdb::meta::{BlockMeta, BlockStats};
use ulid::Ulid;

use crate::error::{CompactError, Result};

/// Resolution of the first level.
pub const FIVE_MINUTES_MS: i64 = 300_000;
/// Resolution of the second level.
pub const ONE_HOUR_MS: i64 = 3_600_000;

/// Floats of one series as columns.
#[derive(Debug, Default, Clone)]
pub struct FloatColumns {
    /// Increasing.
    pub t_ms: Vec<TimestampMs>,
    /// None is NaN.
    pub values: Vec<f64>,
}

/// Writes `input` at `resolution_ms` as block `ulid` below `parent`: raw input for any resolution, 5 m input for
/// 1 h. `None` when the input has nothing to aggregate. `stop` is asked after each series.
///
/// # Errors
/// [`CompactError::BadBlock`] when the input is not sound or as coarse already, [`CompactError::Output`],
/// [`CompactError::ShuttingDown`].
pub fn downsample_block(
    disk: &dyn Disk,
    input: &BlockReader,
    resolution_ms: i64,
    parent: &Path,
    ulid: Ulid,
    stop: &dyn Fn() -> bool,
) -> Result<Option<BlockMeta>> {
    let from_ms = input.meta().resolution_ms();
    if from_ms >= resolution_ms {
        let reason = format!("its resolution of {from_ms} ms is not finer than {resolution_ms} ms");
        return Err(CompactError::BadBlock { ulid: input.meta().ulid, reason });
    }
    let mut symbols = SymbolSet::new();
    for text in input.index().symbols().iter() {
        symbols.insert(text);
    }
    let meta = downsampled_meta(input.meta(), resolution_ms, ulid);
    let options = BlockOptions { tombstones: false, ..BlockOptions::default() };
    let mut writer =
        BlockWriter::create(disk, parent, meta, symbols, options).map_err(CompactError::Output)?;
    match write_series(input, resolution_ms, &mut writer, stop) {
        Ok(0) => {
            writer.abandon();
            Ok(None)
        }
        Ok(_) => writer.finish().map(Some).map_err(CompactError::Output),
        Err(e) => {
            writer.abandon();
            Err(e)
        }
    }
}

fn write_series(
    input: &BlockReader,
    resolution_ms: i64,
    writer: &mut BlockWriter<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<u64> {
    let bad = |reason: String| CompactError::BadBlock { ulid: input.meta().ulid, reason };
    let raw = input.meta().resolution_ms() == 0;
    let (mut entry, mut series) = (SeriesEntry::default(), 0);
    for reference in input.index().all_series().map_err(|e| bad(e.to_string()))? {
        if stop() {
            return Err(CompactError::ShuttingDown);
        }
        input.index().series(reference, &mut entry).map_err(|e| bad(e.to_string()))?;
        let chunks =
            input.chunks_of(reference, &entry.chunks, i64::MIN, i64::MAX).map_err(|e| bad(e.to_string()))?;
        let of_series = |reason: String| bad(format!("{}: {reason}", entry.labels()));
        let made = if raw {
            from_raw(&chunks, resolution_ms)
        } else {
            from_aggregates(&chunks, input, resolution_ms)
        };
        let made = made.map_err(of_series)?;
        let mut out = Vec::with_capacity(made.len());
        for a in &made {
            let data =
                aggr::write(a).ok_or_else(|| of_series("an aggregate outgrows its chunk".to_owned()))?;
            out.push(BlockChunk {
                min_ms: a.min_ms,
                max_ms: a.max_ms,
                encoding: AGGR_ENCODING,
                data: data.into(),
            });
        }
        if !out.is_empty() {
            writer.add_series(entry.labels(), &out).map_err(CompactError::Output)?;
            series += 1;
        }
    }
    Ok(series)
}

/// Aggregates of raw chunks in order of time. Floats and histograms of one series become chunks of their own.
///
/// # Errors
/// Why a chunk cannot be decoded.
pub fn from_raw(chunks: &[BlockChunk], resolution_ms: i64) -> std::result::Result<Vec<Aggregates>, String> {
    let (mut floats, mut histograms) = (FloatColumns::default(), Vec::new());
    let mut out = Vec::new();
    for c in chunks {
        match Encoding::from_byte(c.encoding) {
            Some(encoding @ (Encoding::Xor | Encoding::Xor2)) => {
                histogram::flush(&mut histograms, resolution_ms, &mut out);
                let from = floats.t_ms.len();
                decode_floats(encoding, &c.data, &mut floats.t_ms, &mut floats.values)
                    .map_err(|m| m.to_string())?;
                floats.drop_nans(from);
            }
            Some(encoding) => {
                float::flush(&mut floats, resolution_ms, &mut out);
                for s in ChunkDecoder::new(encoding, &c.data) {
                    let s = s.map_err(|m| m.to_string())?;
                    let h: Arc<FloatHistogram> = match s.value {
                        _ if s.value.is_stale() => continue,
                        Value::Histogram(h) => Arc::new(h.to_float()),
                        Value::FloatHistogram(h) => h,
                        Value::Float(_) => continue,
                    };
                    histograms.push((s.t_ms, h));
                }
            }
            None => return Err(format!("chunk of encoding {} in a raw block", c.encoding)),
        }
    }
    float::flush(&mut floats, resolution_ms, &mut out);
    histogram::flush(&mut histograms, resolution_ms, &mut out);
    Ok(out)
}

fn from_aggregates(
    chunks: &[BlockChunk],
    input: &BlockReader,
    resolution_ms: i64,
) -> std::result::Result<Vec<Aggregates>, String> {
    let read = |c: &BlockChunk| match c.encoding {
        AGGR_ENCODING => aggr::read(c.min_ms, c.max_ms, &c.data).map_err(|m| m.to_string()),
        other => Err(format!("chunk of encoding {other} in a downsampled block")),
    };
    let all: Vec<Aggregates> = chunks.iter().map(read).collect::<std::result::Result<_, _>>()?;
    aggregates::downsample(&all, input.meta().resolution_ms(), resolution_ms)
}

impl FloatColumns {
    /// Removes NaNs from row `from` on.
    fn drop_nans(&mut self, from: usize) {
        if !self.values[from..].iter().any(|v| v.is_nan()) {
            return;
        }
        let mut kept = from;
        for i in from..self.values.len() {
            if !self.values[i].is_nan() {
                self.values[kept] = self.values[i];
                self.t_ms[kept] = self.t_ms[i];
                kept += 1;
            }
        }
        self.values.truncate(kept);
        self.t_ms.truncate(kept);
    }
}

/// The input's description with another resolution: range, level and ancestors are the same.
fn downsampled_meta(input: &BlockMeta, resolution_ms: i64, ulid: Ulid) -> BlockMeta {
    let mut meta = input.clone();
    meta.ulid = ulid;
    meta.stats = BlockStats::default();
    let thanos = meta.thanos.get_or_insert_default();
    thanos.downsample.resolution = resolution_ms;
    thanos.files.clear();
    thanos.segment_files.clear();
    thanos.index_stats = Default::default();
    thanos.extensions = None;
    thanos.upload_time = None;
    meta
}

#[cfg(test)]
mod tests;
