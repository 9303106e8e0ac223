//! `tsdb analyze`: churn, cardinality and, extended, how well chunks are filled.

use std::collections::BTreeMap;
use std::io::{self, Write};

use cairn_model::{Encoding, Matcher, NameSet, Value};

use super::{Progress, format, output};
use crate::block::BlockReader;
use crate::chunkenc::ChunkDecoder;
use crate::error::TsdbError;
use crate::index::SeriesEntry;

/// What to analyze.
#[derive(Debug, Clone)]
pub struct AnalyzeOptions {
    /// Lines a list.
    pub limit: usize,
    /// Whether chunks are read too.
    pub extended: bool,
    /// Selector as the user wrote it and as parsed; none = all series.
    pub matchers: Option<(String, Vec<Matcher>)>,
}

impl Default for AnalyzeOptions {
    fn default() -> Self {
        AnalyzeOptions { limit: 20, extended: false, matchers: None }
    }
}

/// Churn and cardinality by label name or pair.
#[derive(Default)]
struct Tally {
    /// Milliseconds of the block's range that series with this label do not cover, by name.
    uncovered_by_name: BTreeMap<String, u64>,
    /// The same by pair.
    uncovered_by_pair: BTreeMap<String, u64>,
    series_by_pair: BTreeMap<String, u64>,
    series_by_metric: BTreeMap<String, u64>,
    entries: u64,
}

/// Why collecting all names cannot be refused.
const UNBOUNDED: &str = "nothing bounds it";

/// Analyzes one block in promtool's shape. Lines of equal count stand in order of their names.
///
/// # Errors
/// [`TsdbError::Corrupt`] naming what cannot be read; [`TsdbError::Io`] of the output.
pub fn analyze(
    block: &BlockReader,
    options: &AnalyzeOptions,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(), TsdbError> {
    let (meta, index) = (block.meta(), block.index());
    let range_ms = meta.max_time.saturating_sub(meta.min_time).max(1) as u64;
    let selector = options.matchers.as_ref().map_or(&[][..], |(_, m)| m);
    let references = index.select(selector)?;
    let mut names = NameSet::default();
    index.label_names(selector, &mut names)?;
    let names = names.finish().expect(UNBOUNDED);

    let mut tally = Tally::default();
    let mut entry = SeriesEntry::default();
    progress.begin(references.len() as u64, "series");
    for reference in &references {
        index.series(*reference, &mut entry)?;
        tally.add(&entry, range_ms);
        progress.advance(1);
    }
    let mut values = Vec::with_capacity(names.len());
    progress.begin(names.len() as u64, "label names");
    for name in &names {
        progress.advance(1);
        let mut of_name = NameSet::default();
        index.label_values(name, selector, &mut of_name)?;
        let of_name = of_name.finish().expect(UNBOUNDED);
        values.push((
            name.clone(),
            of_name.len() as u64,
            of_name.iter().map(|v| v.len() as u64).sum::<u64>(),
        ));
    }

    progress.end();
    let mut print = || -> io::Result<()> {
        writeln!(out, "Block ID: {}", meta.ulid)?;
        writeln!(out, "Duration: {}", format::duration(meta.max_time - meta.min_time))?;
        writeln!(out, "Total Series: {}", meta.stats.num_series)?;
        if let Some((text, _)) = &options.matchers {
            writeln!(out, "Matcher: {text}")?;
        }
        writeln!(out, "Label names: {}", names.len())?;
        if options.matchers.is_some() {
            writeln!(out, "Matched series: {}", references.len())?;
        }
        writeln!(out, "Postings (unique label pairs): {}", tally.series_by_pair.len())?;
        writeln!(out, "Postings entries (total label pairs): {}", tally.entries)?;
        let share = |m: &BTreeMap<String, u64>| {
            m.iter().map(|(k, v)| (k.clone(), *v / range_ms)).collect::<Vec<(String, u64)>>()
        };
        let all = |m: &BTreeMap<String, u64>| m.iter().map(|(k, v)| (k.clone(), *v)).collect::<Vec<_>>();
        let by_length = values.iter().map(|(n, _, length)| (n.clone(), *length)).collect();
        let by_count = values.iter().map(|(n, count, _)| (n.clone(), *count)).collect();
        for (title, rows) in [
            ("Label pairs most involved in churning", share(&tally.uncovered_by_pair)),
            ("Label names most involved in churning", share(&tally.uncovered_by_name)),
            ("Most common label pairs", all(&tally.series_by_pair)),
            ("Label names with highest cumulative label value length", by_length),
            ("Highest cardinality labels", by_count),
            ("Highest cardinality metric names", all(&tally.series_by_metric)),
        ] {
            writeln!(out, "\n{title}:")?;
            print_top(rows, options.limit, out)?;
        }
        Ok(())
    };
    print().map_err(output)?;
    if options.extended {
        extended(block, &references, out)?;
    }
    Ok(())
}

impl Tally {
    fn add(&mut self, entry: &SeriesEntry, range_ms: u64) {
        let covered = match (entry.chunks.first(), entry.chunks.last()) {
            (Some(first), Some(last)) => last.max_ms.saturating_sub(first.min_ms) as u64,
            _ => 0,
        };
        let uncovered = range_ms.saturating_sub(covered);
        for (name, value) in entry.labels().iter() {
            let pair = format!("{name}={value}");
            *self.uncovered_by_name.entry(name.to_owned()).or_default() += uncovered;
            *self.uncovered_by_pair.entry(pair.clone()).or_default() += uncovered;
            *self.series_by_pair.entry(pair).or_default() += 1;
            self.entries += 1;
        }
        let metric = entry.labels().metric_name();
        if !metric.is_empty() {
            *self.series_by_metric.entry(metric.to_owned()).or_default() += 1;
        }
    }
}

fn print_top(mut rows: Vec<(String, u64)>, limit: usize, out: &mut dyn Write) -> io::Result<()> {
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    rows.iter().take(limit).try_for_each(|(key, n)| writeln!(out, "{n} {key}"))
}

/// Sizes of the chunks of one kind.
#[derive(Default)]
struct ChunkSizes {
    samples: Vec<usize>,
    bytes: Vec<usize>,
    buckets: Vec<usize>,
}

fn extended(block: &BlockReader, references: &[u32], out: &mut dyn Write) -> Result<(), TsdbError> {
    let (mut floats, mut histograms) = (ChunkSizes::default(), ChunkSizes::default());
    let mut total = 0;
    let mut entry = SeriesEntry::default();
    for reference in references {
        block.index().series(*reference, &mut entry)?;
        for meta in &entry.chunks {
            let chunk = block.segments().read(meta)?;
            total += 1;
            let Some(encoding) = Encoding::from_byte(chunk.encoding) else { continue };
            let sizes = match encoding {
                Encoding::Xor | Encoding::Xor2 => &mut floats,
                Encoding::Histogram | Encoding::FloatHistogram => &mut histograms,
            };
            sizes.samples.push(chunk.samples());
            sizes.bytes.push(chunk.data.len());
            if matches!(encoding, Encoding::Histogram | Encoding::FloatHistogram) {
                let mut buckets = 0;
                for sample in ChunkDecoder::new(encoding, &chunk.data) {
                    let place = meta.place & 0xffff_ffff;
                    let name = || block.segments().name((meta.place >> 32) as usize);
                    buckets += match sample.map_err(|m| TsdbError::malformed(name(), place, m))?.value {
                        Value::Histogram(h) => h.positive_buckets.len() + h.negative_buckets.len(),
                        Value::FloatHistogram(h) => h.positive_buckets.len() + h.negative_buckets.len(),
                        Value::Float(_) => 0,
                    };
                }
                sizes.buckets.push(buckets);
            }
        }
    }
    let print = || -> io::Result<()> {
        writeln!(out, "\nCompaction analysis:\n")?;
        print_distribution("samples per float chunk", floats.samples, total, out)?;
        print_distribution("bytes per float chunk", floats.bytes, total, out)?;
        print_distribution("samples per histogram chunk", histograms.samples, total, out)?;
        print_distribution("bytes per histogram chunk", histograms.bytes, total, out)?;
        print_distribution("buckets per histogram chunk", histograms.buckets, total, out)
    };
    print().map_err(output)
}

/// Counts in ten to twenty steps of 10, 100, 1,000, …, with a bar of one # a percent of all chunks.
fn print_distribution(what: &str, mut data: Vec<usize>, total: usize, out: &mut dyn Write) -> io::Result<()> {
    data.sort_unstable();
    let (Some(&min), Some(&max)) = (data.first(), data.last()) else {
        return writeln!(out, "{what}: N/A\n");
    };
    let mut step = 10;
    while step < (max - min) / 10 && step <= 10_000 {
        step *= 10;
    }
    let (start, end) = (min - min % step, max - max % step + step);
    let mut buckets = vec![0usize; (end - start) / step + 1];
    data.iter().for_each(|c| buckets[(c - start) / step] += 1);
    let avg = data.iter().sum::<usize>() / data.len();
    writeln!(out, "{what} (min/avg/max): {min}/{avg}/{max}")?;
    let digits = |n: usize| n.to_string().len();
    let (left, right) = (digits(end), digits(end + step));
    let counts = digits(buckets.iter().copied().max().unwrap_or(0));
    for (i, n) in buckets.iter().enumerate() {
        let (from, to) = (i * step + start + 1, (i + 1) * step + start);
        writeln!(out, "[{from:left$}, {to:right$}]: {n:counts$} {}", "#".repeat(100 * n / total))?;
    }
    writeln!(out)
}
