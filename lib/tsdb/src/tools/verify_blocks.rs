//! `tsdb verify`: every byte of every block. promtool has no such command; the shape is a row a block and a line a
//! finding.

use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use cairn_runtime::Disk;
use serde::Serialize;
use ulid::Ulid;

use super::output;
use crate::block::{BlockReader, verify};
use crate::error::TsdbError;

/// The outcome of one block.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedBlock {
    /// The block.
    pub ulid: String,
    /// Series, chunks and samples that were read.
    pub num_series: u64,
    /// See `num_series`.
    pub num_chunks: u64,
    /// See `num_series`.
    pub num_samples: u64,
    /// `object:offset: what`.
    pub findings: Vec<String>,
    /// Findings beyond those listed.
    pub omitted: u64,
}

/// Checks all blocks below `dir`; `each` is told of every block as soon as it is done.
///
/// # Errors
/// [`TsdbError::Io`] when the folder cannot be listed. A block that cannot be opened is a finding.
pub fn verify_blocks(
    disk: &dyn Disk,
    dir: &Path,
    mut each: impl FnMut(&VerifiedBlock),
) -> Result<Vec<VerifiedBlock>, TsdbError> {
    let mut all = Vec::new();
    for entry in disk.list(dir).map_err(TsdbError::io("list", dir))? {
        if !entry.is_dir || Ulid::from_str(&entry.name).is_err() {
            continue;
        }
        let verified = verify_one(disk, &dir.join(&entry.name), entry.name);
        each(&verified);
        all.push(verified);
    }
    Ok(all)
}

fn verify_one(disk: &dyn Disk, folder: &Path, ulid: String) -> VerifiedBlock {
    let (num_series, num_chunks, num_samples, omitted) = (0, 0, 0, 0);
    match BlockReader::open(disk, folder) {
        Err(e) => VerifiedBlock {
            ulid,
            num_series,
            num_chunks,
            num_samples,
            findings: vec![e.to_string()],
            omitted,
        },
        Ok(block) => {
            let v = verify(&block);
            VerifiedBlock {
                ulid,
                num_series: v.stats.num_series,
                num_chunks: v.stats.num_chunks,
                num_samples: v.stats.num_samples,
                findings: v
                    .findings
                    .iter()
                    .map(|f| format!("{}:{}: {}", f.object, f.offset, f.what))
                    .collect(),
                omitted: v.omitted,
            }
        }
    }
}

/// Prints outcomes; gives how many findings there are.
///
/// # Errors
/// [`TsdbError::Io`] of the output.
pub fn print_findings(blocks: &[VerifiedBlock], out: &mut dyn Write) -> Result<u64, TsdbError> {
    let mut total = 0;
    let mut print = || -> std::io::Result<()> {
        for b in blocks {
            let count = b.findings.len() as u64 + b.omitted;
            total += count;
            let (series, chunks, samples) = (b.num_series, b.num_chunks, b.num_samples);
            let verdict = match count {
                0 => "ok".to_owned(),
                1 => "1 finding".to_owned(),
                n => format!("{n} findings"),
            };
            writeln!(out, "{} {verdict}: {series} series, {chunks} chunks, {samples} samples", b.ulid)?;
            for finding in &b.findings {
                writeln!(out, "  {finding}")?;
            }
            if b.omitted > 0 {
                writeln!(out, "  and {} more", b.omitted)?;
            }
        }
        Ok(())
    };
    print().map_err(output)?;
    Ok(total)
}
