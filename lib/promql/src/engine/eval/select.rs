//! Instant selectors: at every step the last sample that is not too old.

use cairn_model::sample::is_stale;
use cairn_model::storage::Series;
use cairn_model::{CounterResetHint, Labels, TimestampMs};

use super::super::column::{ABSENT, Column, Histogram};
use super::super::error::QueryError;
use super::super::grid::{Grid, Reference};
use super::super::plan::{Fetch, SampleTime, Select, VectorNode};
use super::super::samples::{SampleBuf, SampleColumn};
use super::Evaluator;
use super::range_call::RangeLeaf;
use super::source::{Scratch, SeriesSource};
use crate::annotations::{Annotations, Note};
use crate::functions::extended::{interpolate, interpolate_histogram};
use crate::functions::window::{Samples, Window};
use crate::parser::ast::Span;

/// An instant selector, or the sample times of one.
pub struct SelectLeaf<'a> {
    eval: &'a Evaluator<'a>,
    fetch: &'a Fetch,
    series: &'a [Series],
    reference: Reference,
    grid: Grid,
    smoothed: bool,
    one_name: bool,
    stats_only: bool,
    span: Span,
    times: Option<SampleTime>,
}

impl<'a> Evaluator<'a> {
    /// The source of a leaf node.
    pub(super) fn leaf<'b>(
        &'b self,
        node: &'b VectorNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Box<dyn SeriesSource + 'b>, QueryError> {
        Ok(match node {
            VectorNode::Select(s) => Box::new(self.select(s, grid, None)),
            VectorNode::SampleTime { select, which } => Box::new(self.select(select, grid, Some(*which))),
            VectorNode::RangeCall(call) => Box::new(RangeLeaf::new(self, call, grid, notes)?),
            other => return Err(QueryError::Internal(format!("not a leaf: {other:?}"))),
        })
    }

    fn select<'b>(&'b self, s: &'b Select, grid: Grid, times: Option<SampleTime>) -> SelectLeaf<'b> {
        let (fetch, series) = self.fetch(s.fetch);
        SelectLeaf {
            eval: self,
            fetch,
            series,
            reference: s.reference,
            grid,
            smoothed: s.smoothed && times.is_none(),
            one_name: s.one_name,
            stats_only: s.stats_only,
            span: s.span,
            times,
        }
    }
}

impl SelectLeaf<'_> {
    fn lookback_ms(&self) -> i64 {
        self.eval.options.lookback_ms
    }

    fn fill(&self, series: &Series, buf: &mut SampleBuf) -> Result<(), QueryError> {
        let decoder = self.eval.decoder;
        let damaged = |reason| QueryError::Decode { series: series.labels.to_string(), reason };
        let (first, last) = self.reference.bounds(self.grid);
        if first == last && !self.smoothed && !self.stats_only {
            let after = first.saturating_sub(self.lookback_ms());
            if buf.fill_last(&series.chunks, after, first, decoder).map_err(damaged)? {
                return Ok(());
            }
        }
        let bounds = (self.fetch.min_ms, self.fetch.max_ms);
        buf.fill(&series.chunks, bounds, self.fetch.aggregate, decoder).map_err(damaged)?;
        if self.stats_only && !buf.histograms.is_empty() {
            buf.keep_stats();
        }
        Ok(())
    }

    /// Writes the value of every step. Answers how many there are.
    fn look_back(&self, buf: &SampleBuf, column: &mut Column) -> u64 {
        let mut found = 0;
        let (floats, histograms) = (&buf.floats, &buf.histograms);
        let (mut f, mut h) = (Cursor::default(), Cursor::default());
        for k in 0..self.grid.steps {
            let at = self.reference.time(self.grid.time(k));
            let oldest = at.saturating_sub(self.lookback_ms());
            let float = f.last_at(&floats.t_ms, at).filter(|i| floats.t_ms[*i] > oldest);
            let histogram = h.last_at(&histograms.t_ms, at).filter(|i| histograms.t_ms[*i] > oldest);
            let float_is_last = match (float, histogram) {
                (Some(f), Some(h)) => floats.t_ms[f] >= histograms.t_ms[h],
                (f, _) => f.is_some(),
            };
            if float_is_last {
                let Some(i) = float.filter(|i| !is_stale(floats.value[*i])) else { continue };
                found += 1;
                column.set_float(k, self.taken(floats, i).unwrap_or(floats.value[i]));
            } else if let Some(i) = histogram.filter(|i| !histograms.value[*i].is_stale()) {
                found += 1;
                let taken = self.taken(histograms, i).filter(|_| self.times != Some(SampleTime::OfFloats));
                match taken {
                    Some(v) => column.set_float(k, v),
                    None => column.set_histogram(k, histograms.value[i].clone()),
                }
            }
        }
        found
    }

    /// The time of sample `i`, when times are asked for.
    fn taken<T: Clone>(&self, samples: &SampleColumn<T>, i: usize) -> Option<f64> {
        let t_ms = match self.times? {
            SampleTime::Timestamp | SampleTime::OfFloats => samples.t_ms[i],
            SampleTime::Start if !self.eval.options.start_timestamps => return Some(ABSENT),
            SampleTime::Start => samples.start_ms.get(i).copied().unwrap_or(0),
        };
        Some(t_ms as f64 / 1000.0)
    }

    /// Writes values interpolated between the samples around every step.
    fn smooth(&self, buf: &SampleBuf, column: &mut Column, metric: &str, notes: &mut Annotations) {
        for k in 0..self.grid.steps {
            let at = self.reference.time(self.grid.time(k));
            let (from, to) = (at - self.lookback_ms(), at + self.lookback_ms());
            let window = Window {
                floats: inside(&buf.floats, from, to),
                histograms: inside(&buf.histograms, from, to),
            };
            if window.is_mixed() {
                notes.add_named(Note::MixedFloatsHistograms, metric, self.span);
            } else if !window.histograms.is_empty() {
                if let Some(h) = self.smooth_histogram(window.histograms, at, metric, notes) {
                    column.set_histogram(k, h);
                }
            } else if let Some(v) = smooth_float(window.floats, at) {
                column.set_float(k, v);
            }
        }
    }

    fn smooth_histogram(
        &self,
        s: Samples<'_, Histogram>,
        at: TimestampMs,
        metric: &str,
        notes: &mut Annotations,
    ) -> Option<Histogram> {
        let i = s.t_ms.partition_point(|t| *t < at);
        if s.t_ms.get(i) == Some(&at) {
            return Some(s.value[i].clone());
        }
        let before = i.checked_sub(1)?;
        let (a, Some(b)) = (&s.value[before], s.value.get(i)) else {
            let mut last = (*s.value[before]).clone();
            last.reset_hint = CounterResetHint::Unknown; // it spoke of the sample before, not of this step
            return Some(last.into());
        };
        if a.uses_custom_buckets() != b.uses_custom_buckets() {
            notes.add_named(Note::MixedExponentialCustom, metric, self.span);
            return None;
        }
        let gauge = [a, b].iter().all(|h| h.reset_hint == CounterResetHint::Gauge);
        let (a, b) = ((s.t_ms[before], &**a), (s.t_ms[i], &**b));
        interpolate_histogram(a, b, at, !gauge, (metric, self.span), notes).map(Into::into)
    }
}

fn smooth_float(s: Samples<'_, f64>, at: TimestampMs) -> Option<f64> {
    let i = s.t_ms.partition_point(|t| *t < at);
    if s.t_ms.get(i) == Some(&at) {
        return Some(s.value[i]);
    }
    let before = i.checked_sub(1)?;
    match s.t_ms.get(i) {
        Some(t) => Some(interpolate((s.t_ms[before], s.value[before]), (*t, s.value[i]), at, false)),
        None => Some(s.value[before]),
    }
}

/// The samples in `(from, to]`.
pub(super) fn inside<T: Clone>(c: &SampleColumn<T>, from: TimestampMs, to: TimestampMs) -> Samples<'_, T> {
    let (a, b) = (c.t_ms.partition_point(|t| *t <= from), c.t_ms.partition_point(|t| *t <= to));
    samples(c, a, b.max(a))
}

/// The samples with indexes `a .. b`.
pub(super) fn samples<T: Clone>(c: &SampleColumn<T>, a: usize, b: usize) -> Samples<'_, T> {
    let start_ms = if c.start_ms.is_empty() { &[][..] } else { &c.start_ms[a..b] };
    Samples { t_ms: &c.t_ms[a..b], value: &c.value[a..b], start_ms }
}

/// Finds the last sample at or before times that do not fall.
#[derive(Default)]
struct Cursor(usize);

impl Cursor {
    #[inline]
    fn last_at(&mut self, t_ms: &[TimestampMs], at: TimestampMs) -> Option<usize> {
        while self.0 < t_ms.len() && t_ms[self.0] <= at {
            self.0 += 1;
        }
        self.0.checked_sub(1)
    }
}

impl SeriesSource for SelectLeaf<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        &self.series[i].labels
    }

    fn drops_name(&self, _: usize) -> bool {
        self.times.is_some()
    }

    fn read<'s>(
        &'s self,
        i: usize,
        scratch: &'s mut Scratch,
        notes: &mut Annotations,
    ) -> Result<Option<&'s Column>, QueryError> {
        let series = &self.series[i];
        let Scratch { samples, column, tally, .. } = scratch;
        self.fill(series, samples)?;
        if samples.is_empty() {
            return Ok(None);
        }
        self.eval.budget.fits(samples.len())?;
        column.reset(self.grid.steps);
        if self.smoothed {
            samples.remove_stale();
            self.smooth(samples, column, series.labels.metric_name(), notes);
            return Ok(Some(column));
        }
        let found = self.look_back(samples, column);
        tally.add_values(found, column);
        Ok((found > 0).then_some(column))
    }

    fn work(&self) -> usize {
        let samples =
            (self.fetch.max_ms - self.fetch.min_ms).max(0) as usize / super::range_call::TYPICAL_INTERVAL_MS;
        self.series.len() * (self.grid.steps + samples.min(10_000))
    }

    fn names_may_collide(&self) -> bool {
        self.times.is_some() && (!self.one_name || self.eval.options.type_and_unit_labels)
    }
}
