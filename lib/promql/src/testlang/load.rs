//! `load`: series that come into the store.

use cairn_model::sample::Sample;
use cairn_model::{Labels, TimestampMs, Value};

use super::nhcb;
use super::sequence::SequenceValue;
use super::series::SeriesDescription;

/// A series with its samples, in order of time.
#[derive(Debug, Clone)]
pub struct LoadedSeries {
    /// The series.
    pub labels: Labels,
    /// Its samples; stale markers are among them.
    pub samples: Vec<Sample>,
}

/// A `load` command.
#[derive(Debug, Clone)]
pub struct Load {
    /// Line of the command, from 1.
    pub line: usize,
    /// Milliseconds between two values.
    pub step_ms: i64,
    /// Whether classic histograms are also loaded as native ones.
    pub with_nhcb: bool,
    /// Series with start timestamps relative to their samples (empty: unknown).
    pub series: Vec<(SeriesDescription, Vec<Option<i64>>)>,
}

impl Load {
    /// The samples to load; the first value of each series stands at `start_ms`. Of two lines with the same
    /// labels the later one counts.
    ///
    /// # Errors
    /// When classic histograms cannot be converted.
    pub fn expand(&self, start_ms: TimestampMs) -> Result<Vec<LoadedSeries>, String> {
        let mut all: Vec<LoadedSeries> = Vec::with_capacity(self.series.len());
        for (description, starts) in &self.series {
            let series = expand(description, starts, start_ms, self.step_ms);
            match all.iter_mut().find(|s| s.labels == series.labels) {
                Some(same) => *same = series,
                None => all.push(series),
            }
        }
        if self.with_nhcb {
            let native = nhcb::convert(&all)?;
            all.extend(native);
        }
        Ok(all)
    }
}

/// The samples of one series, the first at `start_ms`, `step_ms` apart.
pub fn expand(
    description: &SeriesDescription,
    starts: &[Option<i64>],
    start_ms: TimestampMs,
    step_ms: i64,
) -> LoadedSeries {
    let sample = |(i, value): (usize, &SequenceValue)| {
        let t_ms = start_ms + i as i64 * step_ms;
        let value = match value {
            SequenceValue::Omitted => return None,
            SequenceValue::Float(v) => Value::Float(*v),
            SequenceValue::Histogram { value, .. } => Value::FloatHistogram(value.clone()),
        };
        let start_ms = starts.get(i).copied().flatten().map_or(0, |offset_ms| t_ms + offset_ms);
        Some(Sample { t_ms, start_ms, value })
    };
    LoadedSeries {
        labels: description.labels.clone(),
        samples: description.values.iter().enumerate().filter_map(sample).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::series::parse_series;
    use super::*;

    #[test]
    fn values_stand_a_step_apart_and_gaps_stay_gaps() {
        let series = expand(&parse_series("up 1 _ 3").unwrap(), &[Some(-500), None, None], 10_000, 1_000);
        let got: Vec<_> = series.samples.iter().map(|s| (s.t_ms, s.start_ms)).collect();
        assert_eq!(got, [(10_000, 9_500), (12_000, 0)]);
    }
}
