//! How many samples an evaluation has looked at and read: the numbers of the API's `stats`.
//!
//! Counted as Prometheus counts them. *Looked at* means: a sample counts at every step that looks at it; a histogram counts
//! as many samples as it takes times sixteen bytes; of a subquery only the windows over it count; what is the same at every
//! step is computed once and counts at each. *Read* means: of a range only what the step before did not hold counts; what is
//! the same at every step counts at the first alone; of a subquery what it has read itself counts, at the step whose window
//! takes it in. Selectors without a range read what they look at.
//!
//! Floats cost nothing here by sample: functions of ranges know how many samples their windows hold, and how many there
//! are without repetition two searches a series tell.

use std::ops::AddAssign;
use std::sync::Mutex;

use cairn_model::{FloatHistogram, TimestampMs};

use super::column::{Column, Point};
use super::grid::Grid;
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

/// Samples looked at, and those of them that were read for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleCount {
    /// Looked at: `totalQueryableSamples`.
    pub looked_at: u64,
    /// Read: `samplesRead`.
    pub read: u64,
}

impl SampleCount {
    /// Samples that are looked at once, and read for that.
    pub fn fresh(samples: u64) -> Self {
        SampleCount { looked_at: samples, read: samples }
    }
}

impl AddAssign for SampleCount {
    fn add_assign(&mut self, more: Self) {
        self.looked_at += more.looked_at;
        self.read += more.read;
    }
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
        Self::of_each_step(0)
    }

    /// Counts of each of `steps` steps too.
    pub fn of_each_step(steps: usize) -> Self {
        SampleCounts { all: Mutex::new(Tally::of(steps)), steps }
    }

    /// Counts of a subquery on the grid `inner`, over which `windows` look: by step only where it is asked which window
    /// holds what it reads.
    pub fn of_subquery(&self, inner: Grid, windows: Windows) -> Self {
        let gaps = windows.steps > 1 && windows.step_ms > windows.range_ms;
        Self::of_each_step(if gaps || self.steps > 0 { inner.steps } else { 0 })
    }

    /// Nothing counted yet, by step where these are.
    pub fn alike(&self) -> Self {
        Self::of_each_step(self.steps)
    }

    /// Whether `tally` counts by the same steps, so that nothing is lost in adding it.
    pub fn takes(&self, tally: &Tally) -> bool {
        tally.by_step.len() == self.steps
    }

    /// For one thread to count into; [`SampleCounts::add`] takes it back.
    pub fn tally(&self) -> Tally {
        Tally::of(self.steps)
    }

    /// Adds what a thread has counted.
    pub fn add(&self, tally: &Tally) {
        let mut all = self.all.lock().expect("nothing panics while it is held");
        all.total += tally.total;
        all.by_step.iter_mut().zip(&tally.by_step).for_each(|(sum, n)| *sum += *n);
    }

    /// Adds what was read once, and is looked at at each of `steps` steps.
    pub fn add_at_each(&self, once: SampleCount, steps: usize) {
        let mut tally = self.tally();
        tally.total.looked_at = once.looked_at * steps as u64;
        tally.by_step.iter_mut().for_each(|n| n.looked_at = once.looked_at);
        tally.add(0, SampleCount { looked_at: 0, read: once.read });
        self.add(&tally);
    }

    /// Adds what the steps of a subquery have read, each at the window that takes it in. What lies between two windows does
    /// not count, though it was read.
    pub fn add_subquery(&self, counted: &Tally, inner: Grid, windows: Windows) {
        let mut tally = self.tally();
        let read = |n: &SampleCount| SampleCount { looked_at: 0, read: n.read };
        if counted.by_step.is_empty() {
            tally.add(0, read(&counted.total));
        }
        for (k, n) in counted.by_step.iter().enumerate() {
            if let Some(step) = windows.first_that_holds(inner.time(k)) {
                tally.add(step, read(n));
            }
        }
        self.add(&tally);
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
    pub total: SampleCount,
    /// Each step; empty where nobody asks.
    pub by_step: Vec<SampleCount>,
}

impl Tally {
    fn of(steps: usize) -> Self {
        Tally { by_step: vec![SampleCount::default(); steps], ..Tally::default() }
    }

    fn add(&mut self, step: usize, samples: SampleCount) {
        self.total += samples;
        if let Some(n) = self.by_step.get_mut(step) {
            *n += samples;
        }
    }

    /// Counts `samples` at the first step.
    pub fn add_first(&mut self, samples: SampleCount) {
        self.add(0, samples);
    }

    /// Counts the values of a selector: `found` floats, or whatever stands in `column`.
    #[inline]
    pub fn add_values(&mut self, found: u64, column: &Column) {
        if self.by_step.is_empty() && column.histograms.is_empty() {
            self.total += SampleCount::fresh(found);
            return;
        }
        for (k, point) in column.points() {
            self.add(k, SampleCount::fresh(if let Point::Histogram(h) = point { weight(h) } else { 1 }));
        }
    }

    /// Counts the windows over a series: `seen` floats, or what each window holds of `buf`. They are read where they are
    /// `stored`; what a subquery computed counts as read in [`SampleCounts::add_subquery`].
    #[inline]
    pub fn add_windows(&mut self, seen: u64, windows: Windows, buf: &SampleBuf, stored: bool) {
        if self.by_step.is_empty() && buf.histograms.is_empty() {
            let read = if stored { windows.count_once(&buf.floats.t_ms, seen) } else { 0 };
            self.total += SampleCount { looked_at: seen, read };
            return;
        }
        self.count_windows(windows, buf, stored);
    }

    /// Counts what each window holds of `buf`.
    pub fn count_windows(&mut self, windows: Windows, buf: &SampleBuf, stored: bool) {
        self.count_each(windows, &buf.floats.t_ms, stored, |from, to| (to - from) as u64);
        if !buf.histograms.is_empty() {
            let mut upto = vec![0];
            let mut sum = 0;
            upto.extend(buf.histograms.value.iter().map(|h| {
                sum += weight(h);
                sum
            }));
            self.count_each(windows, &buf.histograms.t_ms, stored, |from, to| upto[to] - upto[from]);
        }
    }

    /// `samples(from, to)` is what the samples with indexes `from .. to` count as.
    fn count_each(
        &mut self,
        windows: Windows,
        t_ms: &[TimestampMs],
        stored: bool,
        samples: impl Fn(usize, usize) -> u64,
    ) {
        let mut known = 0;
        windows.each(t_ms, |k, from, to, _| {
            let read = if stored { samples(from.max(known), to) } else { 0 };
            self.add(k, SampleCount { looked_at: samples(from, to), read });
            known = to;
        });
    }
}

/// Samples of each step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamplesPerStep {
    /// Time of the first step.
    pub start_ms: TimestampMs,
    /// Distance of the steps.
    pub step_ms: i64,
    /// One a step.
    pub counts: Vec<SampleCount>,
}

#[cfg(test)]
mod tests;
