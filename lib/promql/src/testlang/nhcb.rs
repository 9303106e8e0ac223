//! Classic histograms turned into native ones with custom buckets, as `load_with_nhcb` does.
//!
//! Series `x_bucket{le=…}`, `x_sum` and `x_count` of the same other labels become one series `x`, a histogram at
//! every time that any of them has a sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use cairn_model::labels::METRIC_NAME;
use cairn_model::sample::Sample;
use cairn_model::{FloatHistogram, Labels, LabelsBuilder, Span, TimestampMs, Value};

use super::load::LoadedSeries;

const BUCKET_LABEL: &str = "le";

/// A classic histogram at one time.
#[derive(Debug, Default)]
struct Classic {
    /// Upper bound and cumulative count, in order of bounds.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The native histograms of `series`.
///
/// # Errors
/// When counts are negative, not cumulative, or do not agree.
pub fn convert(series: &[LoadedSeries]) -> Result<Vec<LoadedSeries>, String> {
    let mut collected: BTreeMap<Labels, BTreeMap<TimestampMs, Classic>> = BTreeMap::new();
    for s in series {
        let name = s.labels.metric_name();
        let Some((base, part)) = base_name(name) else { continue };
        let bound = s.labels.get(BUCKET_LABEL).and_then(|le| crate::parser::parse_number(le).ok());
        if part == Part::Bucket && bound.is_none_or(f64::is_nan) {
            continue;
        }
        let labels =
            LabelsBuilder::from_labels(s.labels.as_ref()).set(METRIC_NAME, base).remove(BUCKET_LABEL).build();
        let at_times = collected.entry(labels).or_default();
        for sample in &s.samples {
            let Value::Float(v) = sample.value else { continue };
            let classic = at_times.entry(sample.t_ms).or_default();
            match part {
                Part::Bucket => classic.buckets.push((bound.unwrap_or(f64::INFINITY), v)),
                Part::Count => classic.count = Some(v),
                Part::Sum => classic.sum = v,
            }
        }
    }
    let series = collected.into_iter().map(|(labels, at_times)| {
        let samples = at_times.into_iter().map(|(t_ms, classic)| {
            let h = classic.to_native().map_err(|e| format!("cannot convert {labels}: {e}"))?;
            Ok(Sample { t_ms, start_ms: 0, value: Value::FloatHistogram(Arc::new(h)) })
        });
        Ok(LoadedSeries { labels: labels.clone(), samples: samples.collect::<Result<_, String>>()? })
    });
    series.collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Bucket,
    Sum,
    Count,
}

fn base_name(name: &str) -> Option<(&str, Part)> {
    let suffixes = [("_bucket", Part::Bucket), ("_sum", Part::Sum), ("_count", Part::Count)];
    suffixes.into_iter().find_map(|(suffix, part)| name.strip_suffix(suffix).map(|base| (base, part)))
}

impl Classic {
    fn to_native(mut self: Classic) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|later, earlier| later.0 == earlier.0);
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|b| b.1)).unwrap_or(0.0);
        if last.is_none_or(|b| b.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if count < 0.0 || self.buckets.iter().any(|b| b.1 < 0.0) {
            return Err("a count is negative".to_owned());
        }
        if self.buckets.windows(2).any(|w| w[1].1 < w[0].1) {
            return Err("count is not cumulative".to_owned());
        }
        let last_count = self.buckets.last().map_or(0.0, |b| b.1);
        if count != last_count {
            return Err(format!("count mismatch: count={count} != le=+Inf count={last_count}"));
        }
        let mut before = 0.0;
        let counts = self.buckets.iter().map(|(_, cumulative)| {
            let own = cumulative - before;
            before = *cumulative;
            own
        });
        let positive_buckets: Vec<f64> = counts.collect();
        let mut native = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: positive_buckets.len() as u32 }],
            positive_buckets,
            custom_values: self.buckets.iter().map(|b| b.0).filter(|b| b.is_finite()).collect(),
            ..FloatHistogram::default()
        };
        native.compact();
        native.validate().map_err(|e| e.to_string())?;
        Ok(native)
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram_literal::format;
    use super::super::series::parse_series;
    use super::*;

    fn native(lines: &[&str]) -> Result<Vec<(String, Vec<String>)>, String> {
        let series: Vec<LoadedSeries> = lines
            .iter()
            .map(|l| super::super::load::expand(&parse_series(l).unwrap(), &[], 0, 1_000))
            .collect();
        let texts = |s: &Sample| match &s.value {
            Value::FloatHistogram(h) => format(h),
            other => format!("{other:?}"),
        };
        Ok(convert(&series)?
            .iter()
            .map(|s| (s.labels.to_string(), s.samples.iter().map(texts).collect()))
            .collect())
    }

    #[test]
    fn series_of_one_family_become_histograms() {
        let got = native(&[
            "x_bucket{le=\"+Inf\", j=\"1\"} 5 9",
            "x_bucket{le=\"1\", j=\"1\"} 2 3",
            "x_bucket{le=\"nonsense\", j=\"1\"} 2 3",
            "x_sum{j=\"1\"} 7 8",
            "x_count{j=\"1\"} 5 9",
            "other 1 2",
        ]);
        let want = [
            "{{schema:-53 count:5 sum:7 custom_values:[1] buckets:[2 3]}}",
            "{{schema:-53 count:9 sum:8 custom_values:[1] buckets:[3 6]}}",
        ];
        assert_eq!(got.unwrap(), [("x{j=\"1\"}".to_owned(), want.map(str::to_owned).to_vec())]);
    }

    #[test]
    fn a_missing_last_bucket_holds_the_count() {
        assert_eq!(
            native(&["x_bucket{le=\"1\"} 2", "x_count 5"]).unwrap()[0].1,
            ["{{schema:-53 count:5 custom_values:[1] buckets:[2 3]}}"]
        );
    }

    #[test]
    fn counts_that_contradict_are_refused() {
        assert!(
            native(&["x_bucket{le=\"1\"} 3", "x_bucket{le=\"2\"} 2"]).unwrap_err().contains("not cumulative")
        );
        assert!(native(&["x_bucket{le=\"+Inf\"} 3", "x_count 2"]).unwrap_err().contains("count mismatch"));
    }
}
