//! `tsdb dump` and `tsdb dump-openmetrics`: a line a sample, in order of series and time.

use std::io::Write;

use cairn_model::labels::{METRIC_NAME, is_legacy_label_name, quoted};
use cairn_model::number::format_g;
use cairn_model::sample::Sample;
use cairn_model::{Labels, Matcher, TimestampMs, Value};

use super::folder::MergedSeries;
use super::{Progress, output};
use crate::block::BlockReader;
use crate::error::TsdbError;

/// How `dump` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DumpFormat {
    /// `{labels} value timestamp`.
    #[default]
    Prom,
    /// A JSON object of labels a series, no samples.
    SeriesJson,
}

/// What to dump.
#[derive(Debug, Clone)]
pub struct DumpOptions {
    /// First time, inclusive.
    pub min_ms: TimestampMs,
    /// Last time, inclusive.
    pub max_ms: TimestampMs,
    /// Sets of matchers; a series is dumped when all of any one set hold. One empty set is everything.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// How `dump` prints.
    pub format: DumpFormat,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions {
            min_ms: TimestampMs::MIN,
            max_ms: TimestampMs::MAX,
            matcher_sets: vec![Vec::new()],
            format: DumpFormat::default(),
        }
    }
}

/// Dumps every sample; gives how many series and samples were printed.
///
/// # Errors
/// [`TsdbError::Corrupt`] naming what cannot be read, after all before it was printed; [`TsdbError::Io`] of the
/// output.
pub fn dump(
    blocks: &[BlockReader],
    options: &DumpOptions,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(u64, u64), TsdbError> {
    each_series(blocks, options, progress, |labels, samples| {
        if options.format == DumpFormat::SeriesJson {
            return writeln!(out, "{}", series_json(labels));
        }
        let series = braced(labels);
        for s in samples {
            match &s.value {
                Value::Float(v) => writeln!(out, "{series} {} {}", format_g(*v), s.t_ms)?,
                Value::Histogram(h) => writeln!(out, "{series} {} {}", h.to_float(), s.t_ms)?,
                Value::FloatHistogram(h) => writeln!(out, "{series} {h} {}", s.t_ms)?,
            }
        }
        Ok(())
    })
}

/// Dumps every float sample as OpenMetrics text; native histograms cannot be said in it and are left out.
///
/// # Errors
/// As [`dump`].
pub fn dump_openmetrics(
    blocks: &[BlockReader],
    options: &DumpOptions,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<(u64, u64), TsdbError> {
    let counted = each_series(blocks, options, progress, |labels, samples| {
        let pairs: Vec<String> = labels
            .iter()
            .filter(|(n, _)| *n != METRIC_NAME)
            .map(|(n, v)| format!("{n}={}", quoted(v)))
            .collect();
        let series = format!("{}{{{}}}", labels.metric_name(), pairs.join(","));
        for s in samples {
            if let Value::Float(v) = &s.value {
                writeln!(out, "{series} {} {}", format_g(*v), seconds(s.t_ms))?;
            }
        }
        Ok(())
    })?;
    writeln!(out, "# EOF").map_err(output)?;
    Ok(counted)
}

fn each_series(
    blocks: &[BlockReader],
    options: &DumpOptions,
    progress: &dyn Progress,
    mut each: impl FnMut(&Labels, &[Sample]) -> std::io::Result<()>,
) -> Result<(u64, u64), TsdbError> {
    let (min_ms, max_ms) = (options.min_ms, options.max_ms);
    let mut merged = MergedSeries::new(blocks, &options.matcher_sets, min_ms, max_ms)?;
    let (mut series, mut samples) = (0, 0);
    // A series that is in several blocks is read once: the end may come early.
    progress.begin(blocks.iter().map(|b| b.meta().stats.num_series).sum(), "series");
    while let Some((labels, of_series)) = merged.next_series(min_ms, max_ms)? {
        progress.advance(1);
        if of_series.is_empty() {
            continue;
        }
        each(&labels, &of_series).map_err(output)?;
        series += 1;
        samples += of_series.len() as u64;
    }
    progress.end();
    Ok((series, samples))
}

/// `{__name__="up", job="a"}`.
fn braced(labels: &Labels) -> String {
    let pair = |(n, v): (&str, &str)| {
        if is_legacy_label_name(n) {
            format!("{n}={}", quoted(v))
        } else {
            format!("{}={}", quoted(n), quoted(v))
        }
    };
    format!("{{{}}}", labels.iter().map(pair).collect::<Vec<_>>().join(", "))
}

fn series_json(labels: &Labels) -> String {
    let object: serde_json::Map<String, serde_json::Value> =
        labels.iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
    serde_json::Value::Object(object).to_string()
}

/// Seconds with three decimals.
fn seconds(t_ms: TimestampMs) -> String {
    let sign = if t_ms < 0 { "-" } else { "" };
    let t = t_ms.unsigned_abs();
    format!("{sign}{}.{:03}", t / 1000, t % 1000)
}
