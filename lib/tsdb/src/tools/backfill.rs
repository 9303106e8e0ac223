//! `tsdb create-blocks-from openmetrics`: blocks of two hours (or longer) from a text with timestamps.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use cairn_model::labels::LabelsBuilder;
use cairn_model::{Chunk, ChunkData, Labels, TimestampMs};
use cairn_runtime::Disk;
use ulid::Ulid;

use super::Progress;
use super::list::{list, print_rows};
use super::openmetrics::samples;
use crate::block::{BlockChunk, BlockOptions, BlockReader, BlockWriter};
use crate::chunkenc::{ChunkBuilder, CutRule};
use crate::error::TsdbError;
use crate::index::SymbolSet;
use crate::meta::BlockMeta;

/// Shortest block.
pub const MIN_BLOCK_MS: i64 = 2 * 3_600_000;

/// How blocks are made.
#[derive(Debug, Clone)]
pub struct BackfillOptions {
    /// Name of the input in messages.
    pub input: String,
    /// Longest block; rounded down to 2 h times a power of 3.
    pub max_block_ms: i64,
    /// Labels that every series gets; they win.
    pub labels: Labels,
    /// Whether the printed table is for people.
    pub human: bool,
    /// Whether no table is printed.
    pub quiet: bool,
}

/// Writes the samples of `text` as blocks below `dir` and prints a row a block; gives their descriptions. Each
/// window is made in a pass of its own over the text, so that memory holds the samples of one window.
///
/// # Errors
/// [`TsdbError::Invalid`] naming the line that cannot be read, or series and time of two samples that disagree;
/// [`TsdbError::Io`].
pub fn backfill(
    disk: &dyn Disk,
    dir: &Path,
    text: &str,
    options: &BackfillOptions,
    mut next_ulid: impl FnMut() -> Ulid,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Vec<BlockMeta>, TsdbError> {
    disk.create_dir_all(dir).map_err(TsdbError::io("create", dir))?;
    let block_ms = block_duration(options.max_block_ms);
    let (mut window, count) = first_window(text, options, block_ms)?;
    progress.begin(count, "samples");
    let mut metas = Vec::new();
    while let Some(start) = window {
        let (series, later) = collect(text, options, start, start.saturating_add(block_ms))?;
        let meta = write_block(disk, dir, next_ulid(), &series.columns)?;
        progress.advance(series.lines);
        if !options.quiet {
            let block = BlockReader::open(disk, &dir.join(meta.ulid.to_string()))?;
            print_rows(&list(std::slice::from_ref(&block)), metas.is_empty(), options.human, out)?;
        }
        metas.push(meta);
        window = later.map(|t| align(t, block_ms));
    }
    progress.end();
    Ok(metas)
}

type Columns = BTreeMap<Labels, BTreeMap<TimestampMs, f64>>;

/// The samples of one window.
#[derive(Default)]
struct Collected {
    columns: Columns,
    /// Lines that they stood on: a sample may be there twice.
    lines: u64,
}

/// The longest of 2 h, 6 h, 18 h, … that is not longer than `max_ms`, as promtool has them.
fn block_duration(max_ms: i64) -> i64 {
    let ranges = std::iter::successors(Some(MIN_BLOCK_MS), |r| r.checked_mul(3)).take(10);
    ranges.take_while(|r| *r <= max_ms).last().unwrap_or(MIN_BLOCK_MS)
}

fn align(t_ms: TimestampMs, block_ms: i64) -> TimestampMs {
    t_ms.div_euclid(block_ms).saturating_mul(block_ms)
}

fn invalid(options: &BackfillOptions, what: String) -> TsdbError {
    TsdbError::Invalid { object: format!("blocks from {}", options.input), what }
}

/// The window of the earliest sample, and how many samples there are; reads all of `text`, so that nothing is written for a broken one.
fn first_window(
    text: &str,
    options: &BackfillOptions,
    block_ms: i64,
) -> Result<(Option<TimestampMs>, u64), TsdbError> {
    let (mut first, mut count) = (None::<TimestampMs>, 0);
    for sample in samples(text) {
        let t = sample.map_err(|e| invalid(options, e.to_string()))?.t_ms;
        first = Some(first.map_or(t, |f| f.min(t)));
        count += 1;
    }
    Ok((first.map(|t| align(t, block_ms)), count))
}

/// The samples of the window `start .. end`, and the earliest time at or after `end`.
fn collect(
    text: &str,
    options: &BackfillOptions,
    start: TimestampMs,
    end: TimestampMs,
) -> Result<(Collected, Option<TimestampMs>), TsdbError> {
    let mut series = Collected::default();
    let mut later: Option<TimestampMs> = None;
    for sample in samples(text) {
        let s = sample.map_err(|e| invalid(options, e.to_string()))?;
        if s.t_ms >= end {
            later = Some(later.map_or(s.t_ms, |l| l.min(s.t_ms)));
        }
        if !(start..end).contains(&s.t_ms) {
            continue;
        }
        let mut labels = s.labels;
        if !options.labels.is_empty() {
            let mut builder = LabelsBuilder::from_labels(labels.as_ref());
            options.labels.iter().for_each(|(n, v)| {
                builder.set(n, v);
            });
            labels = builder.build();
        }
        let name = labels.clone();
        series.lines += 1;
        let before = series.columns.entry(labels).or_default().insert(s.t_ms, s.value);
        if before.is_some_and(|b| b.to_bits() != s.value.to_bits()) {
            let (t, a, b) = (s.t_ms, before.unwrap_or_default(), s.value);
            return Err(invalid(options, format!("{name} has two values at {t}: {a} and {b}")));
        }
    }
    Ok((series, later))
}

fn write_block(disk: &dyn Disk, dir: &Path, ulid: Ulid, series: &Columns) -> Result<BlockMeta, TsdbError> {
    let times = || series.values().flat_map(|s| [s.keys().next(), s.keys().next_back()]).flatten();
    let (min, max) = (times().min().copied().unwrap_or(0), times().max().copied().unwrap_or(0));
    let mut symbols = SymbolSet::new();
    series.keys().for_each(|l| symbols.add_labels(l.as_ref()));
    let meta = BlockMeta::new(ulid, min, max.saturating_add(1));
    let mut writer = BlockWriter::create(disk, dir, meta, symbols, BlockOptions::default())?;
    for (labels, samples) in series {
        let mut builder = ChunkBuilder::new(CutRule::default());
        let (t, v): (Vec<_>, Vec<_>) = samples.iter().map(|(t, v)| (*t, *v)).unzip();
        builder.push_floats(&t, &v);
        let chunks: Vec<BlockChunk> = builder.finish().into_iter().filter_map(as_block_chunk).collect();
        if let Err(e) = writer.add_series(labels.as_ref(), &chunks) {
            writer.abandon();
            return Err(e);
        }
    }
    writer.finish()
}

fn as_block_chunk(chunk: Chunk) -> Option<BlockChunk> {
    let ChunkData::Encoded(encoding, data) = chunk.data else { return None };
    let data: Bytes = data;
    Some(BlockChunk { min_ms: chunk.min_ms, max_ms: chunk.max_ms, encoding: encoding as u8, data })
}
