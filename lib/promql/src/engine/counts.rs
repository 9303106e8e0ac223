//! How many samples the steps of an evaluation have looked at: the numbers of the API's `stats`.
//!
//! Counted as Prometheus counts them: a sample counts at every step that looks at it, whether it was read anew or not; a
//! histogram counts as many samples as it takes times sixteen bytes; of a subquery only the windows over it count; what
//! is the same at every step is computed once and counts at each.

use std::sync::Mutex;

use cairn_model::{FloatHistogram, TimestampMs};

use super::column::{Column, Point};
use super::samples::SampleBuf;
use crate::functions::sliding::Windows;

/// Bytes of a float sample, in which histograms are measured.
const SAMPLE_BYTES: usize = 16;
/// Bytes of a histogram without its lists, and of its timestamp, as Prometheus lays it out.
const HISTOGRAM_BYTES: usize = 168 + 8;

/// Samples as which a histogram counts.
pub fn weight(h: &FloatHistogram) -> u64 {
    let spans = h.positive_spans.len() + h.negative_spans.len();
    let buckets = h.positive_buckets.len() + h.negative_buckets.len();
    let lists = 8 * (spans + buckets + h.custom_values.len());
    ((HISTOGRAM_BYTES + lists) / SAMPLE_BYTES) as u64
}

/// Counts of one evaluation; shared by its threads.
#[derive(Debug)]
pub struct SampleCounts {
    all: Mutex<Tally>,
    steps: usize,
}

impl SampleCounts {
    /// Counts of all steps together.
    pub fn of_all_steps() -> Self {
        SampleCounts { all: Mutex::default(), steps: 0 }
    }

    /// Counts of each of `steps` steps too.
    pub fn of_each_step(steps: usize) -> Self {
        SampleCounts { all: Mutex::new(Tally { total: 0, by_step: vec![0; steps] }), steps }
    }

    /// For one thread to count into; [`SampleCounts::add`] takes it back.
    pub fn tally(&self) -> Tally {
        Tally { total: 0, by_step: vec![0; self.steps] }
    }

    /// Adds what a thread has counted.
    pub fn add(&self, tally: &Tally) {
        let mut all = self.all.lock().expect("nothing panics while it is held");
        all.total += tally.total;
        all.by_step.iter_mut().zip(&tally.by_step).for_each(|(sum, n)| *sum += n);
    }

    /// Adds the same at each of `steps` steps.
    pub fn add_at_each(&self, samples: u64, steps: usize) {
        self.add(&Tally { total: samples * steps as u64, by_step: vec![samples; self.steps] });
    }

    /// All steps together, and each step where it was asked for.
    pub fn sum(&self) -> Tally {
        self.all.lock().expect("nothing panics while it is held").clone()
    }
}

/// Counts of one thread, or of all.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// All steps together.
    pub total: u64,
    /// Each step; empty where nobody asks.
    pub by_step: Vec<u64>,
}

impl Tally {
    fn add(&mut self, step: usize, samples: u64) {
        self.total += samples;
        if let Some(n) = self.by_step.get_mut(step) {
            *n += samples;
        }
    }

    /// Counts `samples` at the first step.
    pub fn add_first(&mut self, samples: u64) {
        self.add(0, samples);
    }

    /// Counts the values of a selector: `found` floats, or whatever stands in `column`.
    #[inline]
    pub fn add_values(&mut self, found: u64, column: &Column) {
        if self.by_step.is_empty() && column.histograms.is_empty() {
            self.total += found;
            return;
        }
        for (k, point) in column.points() {
            self.add(k, if let Point::Histogram(h) = point { weight(h) } else { 1 });
        }
    }

    /// Counts the windows over a series: `seen` floats, or what each window holds of `buf`.
    #[inline]
    pub fn add_windows(&mut self, seen: u64, windows: Windows, buf: &SampleBuf) {
        if self.by_step.is_empty() && buf.histograms.is_empty() {
            self.total += seen;
            return;
        }
        self.count_windows(windows, buf);
    }

    /// Counts what each window holds of `buf`.
    pub fn count_windows(&mut self, windows: Windows, buf: &SampleBuf) {
        windows.each(&buf.floats.t_ms, |k, from, to, _| self.add(k, (to - from) as u64));
        if !buf.histograms.is_empty() {
            let mut upto = vec![0];
            let mut sum = 0;
            upto.extend(buf.histograms.value.iter().map(|h| {
                sum += weight(h);
                sum
            }));
            windows.each(&buf.histograms.t_ms, |k, from, to, _| self.add(k, upto[to] - upto[from]));
        }
    }
}

/// Samples that each step has looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplesPerStep {
    /// Time of the first step.
    pub start_ms: TimestampMs,
    /// Distance of the steps.
    pub step_ms: i64,
    /// One a step.
    pub counts: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_by_its_size() {
        let mut h = FloatHistogram::default();
        assert_eq!(weight(&h), 11);
        h.positive_buckets = vec![1.0; 5];
        assert_eq!(weight(&h), 13);
    }

    #[test]
    fn threads_add_up_and_what_is_the_same_counts_at_each_step() {
        let counts = SampleCounts::of_each_step(3);
        for _ in 0..2 {
            let mut tally = counts.tally();
            tally.add(1, 5);
            counts.add(&tally);
        }
        counts.add_at_each(2, 3);
        let sum = counts.sum();
        assert_eq!((sum.total, sum.by_step), (16, vec![2, 12, 2]));
        let counts = SampleCounts::of_all_steps();
        counts.add_at_each(2, 3);
        let sum = counts.sum();
        assert_eq!((sum.total, sum.by_step), (6, vec![]));
    }
}
