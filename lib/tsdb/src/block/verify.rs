//! Checks every byte of a block: checksums, orders, ranges, counts. Each finding names object and offset.

use cairn_model::{Encoding, Labels};

use super::segment::AGGR_ENCODING;
use super::{BlockReader, INDEX_FILE, aggr};
use crate::chunkenc::ChunkDecoder;
use crate::index::{ALL_POSTINGS, ChunkMeta, SeriesEntry};
use crate::meta::BlockStats;

/// Findings that are kept; the rest is counted.
pub const MAX_FINDINGS: usize = 1000;

/// Something in a block that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File, or file and series.
    pub object: String,
    /// Where in the file, in bytes; 0 for the whole.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
}

/// The outcome of a check.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// The first [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many more there were.
    pub omitted: u64,
    /// What was counted on the way.
    pub stats: BlockStats,
}

impl Verification {
    /// Whether nothing was found.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, object: impl Into<String>, offset: u64, what: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { object: object.into(), offset, what: what.into() });
        } else {
            self.omitted += 1;
        }
    }
}

/// Reads all of `block`. Opening it has checked description, symbols and tables already.
pub fn verify(block: &BlockReader) -> Verification {
    let mut v = Verification::default();
    let index = block.folder().join(INDEX_FILE).display().to_string();
    let all = match block.index().all_series() {
        Ok(all) => all,
        Err(e) => {
            v.add(index, 0, e.to_string());
            return v;
        }
    };
    check_postings(block, &index, &all, &mut v);
    let mut entry = SeriesEntry::default();
    let mut before: Option<Labels> = None;
    for reference in all {
        let offset = u64::from(reference) * crate::index::SERIES_ALIGN;
        if let Err(e) = block.index().series(reference, &mut entry) {
            v.add(&index, offset, e.to_string());
            continue;
        }
        v.stats.num_series += 1;
        if before.as_ref().is_some_and(|b| b.as_ref() >= entry.labels()) {
            v.add(&index, offset, format!("series {} out of order", entry.labels()));
        }
        before = Some(entry.labels().to_labels());
        for (i, meta) in entry.chunks.iter().enumerate() {
            if i > 0 && meta.min_ms <= entry.chunks[i - 1].max_ms {
                let end = entry.chunks[i - 1].max_ms;
                v.add(
                    &index,
                    offset,
                    format!("chunk of {} at {} overlaps one to {end}", entry.labels(), meta.min_ms),
                );
            }
            check_chunk(block, &entry, meta, &mut v);
        }
    }
    if v.is_sound() {
        // What could not be read was not counted: its own finding says more than the sums.
        check_stats(block, &mut v);
    }
    v
}

fn check_postings(block: &BlockReader, index: &str, all: &[u32], v: &mut Verification) {
    if !all.is_sorted_by(|a, b| a < b) {
        v.add(index, block.index().toc().postings, "list of all series out of order");
    }
    let table = block.index().postings_table();
    let names: Vec<&str> = table.names().collect();
    for name in names {
        for entry in table.values(name) {
            let list = match block.index().postings_at(entry.offset) {
                Ok(list) => list,
                Err(e) => {
                    v.add(index, entry.offset, e.to_string());
                    continue;
                }
            };
            if !list.is_sorted() {
                v.add(index, entry.offset, format!("postings of {name}={:?} out of order", entry.value));
            }
            if let Some(stranger) = list.iter().find(|r| all.binary_search(r).is_err()) {
                let at = u64::from(stranger) * crate::index::SERIES_ALIGN;
                let what =
                    format!("postings of {name}={:?} name a series at {at} that is not there", entry.value);
                v.add(index, entry.offset, what);
            }
        }
    }
    if table.find(ALL_POSTINGS.0, ALL_POSTINGS.1).is_none() {
        v.add(index, block.index().toc().postings_table, "no list of all series");
    }
}

fn check_chunk(block: &BlockReader, entry: &SeriesEntry, meta: &ChunkMeta, v: &mut Verification) {
    let offset = meta.place & 0xffff_ffff;
    let object = format!("{} ({})", block.segments().name((meta.place >> 32) as usize), entry.labels());
    let (from, to) = (block.meta().min_time, block.meta().max_time);
    if meta.min_ms < from || meta.max_ms >= to {
        let what = format!("chunk {}..={} outside the block's range {from}..{to}", meta.min_ms, meta.max_ms);
        v.add(&object, offset, what);
    }
    let chunk = match block.segments().read(meta) {
        Ok(chunk) => chunk,
        Err(e) => return v.add(&object, offset, e.to_string()),
    };
    v.stats.num_chunks += 1;
    let samples = chunk.samples() as u64;
    v.stats.num_samples += samples;
    match Encoding::from_byte(chunk.encoding) {
        Some(encoding) => {
            match encoding {
                Encoding::Xor | Encoding::Xor2 => v.stats.num_float_samples += samples,
                Encoding::Histogram | Encoding::FloatHistogram => v.stats.num_histogram_samples += samples,
            }
            if let Some(what) = check_samples(encoding, &chunk.data, meta) {
                v.add(&object, offset, what);
            }
        }
        None if chunk.encoding == AGGR_ENCODING => {
            if let Err(m) = aggr::read(meta.min_ms, meta.max_ms, &chunk.data) {
                v.add(&object, offset, m.to_string());
            }
        }
        None => v.add(&object, offset, format!("unknown chunk encoding {}", chunk.encoding)),
    }
}

/// Decodes a raw chunk; gives what is wrong with it.
fn check_samples(encoding: Encoding, data: &[u8], meta: &ChunkMeta) -> Option<String> {
    let mut range: Option<(i64, i64)> = None;
    for sample in ChunkDecoder::new(encoding, data) {
        let t = match sample {
            Ok(s) => s.t_ms,
            Err(m) => return Some(m.to_string()),
        };
        match &mut range {
            Some((_, last)) if t <= *last => return Some(format!("sample at {t} follows one at {last}")),
            Some((_, last)) => *last = t,
            none => *none = Some((t, t)),
        }
    }
    match range {
        None => Some("chunk without samples".to_owned()),
        Some(found) if found != (meta.min_ms, meta.max_ms) => Some(format!(
            "samples from {} to {}, the index says {} to {}",
            found.0, found.1, meta.min_ms, meta.max_ms
        )),
        Some(_) => None,
    }
}

/// Compares what was counted with what the description says. Old writers leave the counts by kind out.
fn check_stats(block: &BlockReader, v: &mut Verification) {
    let (said, found) = (block.meta().stats, v.stats);
    let pairs = [
        ("numSeries", said.num_series, found.num_series),
        ("numChunks", said.num_chunks, found.num_chunks),
        ("numSamples", said.num_samples, found.num_samples),
    ];
    for (name, said, found) in pairs {
        if said != found {
            let object = block.folder().join(crate::meta::META_FILE).display().to_string();
            v.add(object, 0, format!("{name} is {said}, the block has {found}"));
        }
    }
}
