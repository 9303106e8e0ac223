//! `tsdb list`: a row a block.

use std::io::Write;

use cairn_model::TimestampMs;
use serde::Serialize;

use super::{format, output};
use crate::block::BlockReader;
use crate::error::TsdbError;

/// A block of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the columns' names
pub struct BlockRow {
    pub ulid: String,
    pub min_time: TimestampMs,
    pub max_time: TimestampMs,
    pub num_samples: u64,
    pub num_chunks: u64,
    pub num_series: u64,
    /// Bytes of all files that belong to the block.
    pub size: u64,
}

/// Rows of `blocks`.
pub fn list(blocks: &[BlockReader]) -> Vec<BlockRow> {
    let row = |b: &BlockReader| {
        let m = b.meta();
        BlockRow {
            ulid: m.ulid.to_string(),
            min_time: m.min_time,
            max_time: m.max_time,
            num_samples: m.stats.num_samples,
            num_chunks: m.stats.num_chunks,
            num_series: m.stats.num_series,
            size: b.size_bytes(),
        }
    };
    blocks.iter().map(row).collect()
}

/// Prints rows as promtool does; `human` as its `-r`.
///
/// # Errors
/// [`TsdbError::Io`] of the output.
pub fn print_rows(
    rows: &[BlockRow],
    header: bool,
    human: bool,
    out: &mut dyn Write,
) -> Result<(), TsdbError> {
    let names =
        ["BLOCK ULID", "MIN TIME", "MAX TIME", "DURATION", "NUM SAMPLES", "NUM CHUNKS", "NUM SERIES", "SIZE"];
    let time = |t: TimestampMs| if human { format::time(t) } else { t.to_string() };
    let size = |n: u64| if human { format::bytes(n) } else { n.to_string() };
    let cells = |r: &BlockRow| {
        vec![
            r.ulid.clone(),
            time(r.min_time),
            time(r.max_time),
            format::duration(r.max_time.saturating_sub(r.min_time)),
            r.num_samples.to_string(),
            r.num_chunks.to_string(),
            r.num_series.to_string(),
            size(r.size),
        ]
    };
    let head = header.then(|| names.map(str::to_owned).to_vec());
    let table: Vec<Vec<String>> = head.into_iter().chain(rows.iter().map(cells)).collect();
    format::table(&table, out).map_err(output)
}
