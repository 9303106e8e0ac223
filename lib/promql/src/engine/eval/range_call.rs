//! Functions of range vectors, series by series.
//!
//! A series is decoded once and the function computed for all steps: in one sliding pass where the function
//! slides and the samples are floats, else window by window.

use cairn_model::labels::LabelsRef;
use cairn_model::storage::Series;
use cairn_model::{CounterResetHint, Labels, TimestampMs};

use super::super::column::{Column, Matrix, Point};
use super::super::error::QueryError;
use super::super::grid::{Grid, subquery_grid};
use super::super::plan::{Edges, Fetch, RangeCall, RangeNode, RangeSource};
use super::super::samples::SampleBuf;
use super::select::samples;
use super::source::{Scratch, SeriesSource};
use super::{Evaluator, ScalarColumn};
use crate::annotations::{Annotations, Note};
use crate::functions::range_fn::RangeFn;
use crate::functions::rate::RateKind;
use crate::functions::sliding::{Windows, slide};
use crate::functions::window::{Output, RangeContext, StepResult, Window};
use crate::functions::{extended, instant_rate, over_time, rate, regression, steps};

/// Distance of samples that estimates of work assume.
pub(super) const TYPICAL_INTERVAL_MS: usize = 15_000;

/// Where the samples of ranges come from.
pub enum RangeInput<'a> {
    /// Stored series.
    Stored(Stored<'a>),
    /// What a subquery has computed, on its own grid.
    Computed(Computed),
}

/// What a subquery has computed.
pub struct Computed {
    /// Its series.
    pub matrix: Matrix,
    /// Its steps.
    pub grid: Grid,
    /// Samples that it has looked at.
    pub looked_at: u64,
}

/// Stored series that a range vector selects.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    fetch: &'a Fetch,
    series: &'a [Series],
    one_name: bool,
    stats_only: bool,
}

impl RangeInput<'_> {
    /// How many series.
    #[allow(clippy::len_without_is_empty)] // nobody asks
    pub fn len(&self) -> usize {
        match self {
            RangeInput::Stored(s) => s.series.len(),
            RangeInput::Computed(c) => c.matrix.series.len(),
        }
    }

    /// Whether the samples are stored ones.
    pub fn is_stored(&self) -> bool {
        matches!(self, RangeInput::Stored(_))
    }

    /// Labels of series `i`.
    pub fn labels(&self, i: usize) -> &Labels {
        match self {
            RangeInput::Stored(s) => &s.series[i].labels,
            RangeInput::Computed(c) => &c.matrix.series[i].labels,
        }
    }

    /// Whether the name of series `i` is to go.
    pub fn drops_name(&self, i: usize) -> bool {
        match self {
            RangeInput::Stored(_) => false,
            RangeInput::Computed(c) => c.matrix.series[i].drop_name,
        }
    }

    /// Samples that a window of these series may hold, all together: an estimate.
    fn work(&self) -> usize {
        match self {
            RangeInput::Stored(s) => {
                let samples = (s.fetch.max_ms - s.fetch.min_ms).max(0) as usize / TYPICAL_INTERVAL_MS;
                s.series.len() * samples.min(10_000)
            }
            RangeInput::Computed(c) => c.matrix.series.iter().map(|s| s.column.floats.len()).sum(),
        }
    }

    /// Fills `buf` with the samples of series `i`, without stale markers.
    pub fn fill(&self, i: usize, eval: &Evaluator<'_>, buf: &mut SampleBuf) -> Result<(), QueryError> {
        match self {
            RangeInput::Stored(Stored { fetch, series, stats_only, .. }) => {
                let s = &series[i];
                let bounds = (fetch.min_ms, fetch.max_ms);
                buf.fill(&s.chunks, bounds, fetch.aggregate, eval.decoder)
                    .map_err(|reason| QueryError::Decode { series: s.labels.to_string(), reason })?;
                buf.remove_stale();
                if *stats_only && !buf.histograms.is_empty() {
                    buf.keep_stats();
                }
            }
            RangeInput::Computed(Computed { matrix, grid, .. }) => {
                buf.clear();
                for (k, p) in matrix.series[i].column.points() {
                    match p {
                        Point::Float(v) => buf.floats.push(grid.time(k), v, 0),
                        Point::Histogram(h) => buf.histograms.push(grid.time(k), h.clone(), 0),
                    }
                }
                forget_reset_hints(buf);
            }
        }
        Ok(())
    }
}

/// A subquery may skip or repeat stored samples, so what their hints say of the sample before does not hold.
fn forget_reset_hints(buf: &mut SampleBuf) {
    for h in &mut buf.histograms.value {
        if matches!(h.reset_hint, CounterResetHint::Reset | CounterResetHint::NotReset) {
            let mut plain = (**h).clone();
            plain.reset_hint = CounterResetHint::Unknown;
            *h = plain.into();
        }
    }
}

impl Evaluator<'_> {
    /// Makes the samples of a range vector available.
    pub(in crate::engine) fn range_input<'b>(
        &'b self,
        range: &'b RangeNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<RangeInput<'b>, QueryError> {
        Ok(match &range.source {
            RangeSource::Selector { fetch, one_name, stats_only } => {
                let (fetch, series) = self.fetch(*fetch);
                RangeInput::Stored(Stored { fetch, series, one_name: *one_name, stats_only: *stats_only })
            }
            RangeSource::Subquery(node, step_ms) => {
                let inner = subquery_grid(grid, range.reference, range.range_ms, *step_ms);
                // The windows over it count, not what it has looked at itself; what it has read does.
                let windows = range.windows(grid);
                let counts = self.counts.of_subquery(inner, windows);
                let matrix = self.counting(&counts).vector(node, inner, notes)?;
                let counted = counts.sum();
                self.counts.add_subquery(&counted, inner, windows);
                RangeInput::Computed(Computed { matrix, grid: inner, looked_at: counted.total.looked_at })
            }
        })
    }
}

/// A function of a range vector on a grid.
pub struct RangeLeaf<'a> {
    eval: &'a Evaluator<'a>,
    call: &'a RangeCall,
    input: RangeInput<'a>,
    grid: Grid,
    params: Vec<ScalarColumn>,
}

impl<'a> RangeLeaf<'a> {
    /// Evaluates the arguments other than stored samples.
    pub fn new(
        eval: &'a Evaluator<'a>,
        call: &'a RangeCall,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Self, QueryError> {
        let input = eval.range_input(&call.range, grid, notes)?;
        let params =
            call.params.iter().map(|p| eval.scalar(p, grid, notes)).collect::<Result<Vec<_>, _>>()?;
        Ok(RangeLeaf { eval, call, input, grid, params })
    }

    fn windows(&self) -> Windows {
        self.call.range.windows(self.grid)
    }

    fn windows_with_edges(&self) -> Windows {
        self.call.range.windows_with_edges(self.grid, self.eval.options.lookback_ms)
    }

    /// Window by window.
    fn each_window(
        &self,
        buf: &SampleBuf,
        metric: &str,
        column: &mut Column,
        notes: &mut Annotations,
    ) -> Result<u64, QueryError> {
        let range = &self.call.range;
        let (windows, held) = (self.windows(), self.windows_with_edges());
        let mut floats = Bounds::default();
        let mut histograms = Bounds::default();
        let mut params = vec![0.0; self.params.len()];
        let mut seen = 0;
        for k in 0..self.grid.steps {
            let end_ms = windows.end(k);
            let start_ms = end_ms - range.range_ms;
            let (from, to) = (held.end(k) - held.range_ms, held.end(k));
            let f = floats.advance(&buf.floats.t_ms, from, to);
            let h = histograms.advance(&buf.histograms.t_ms, from, to);
            let window = Window {
                floats: samples(&buf.floats, f.0, f.1),
                histograms: samples(&buf.histograms, h.0, h.1),
            };
            if window.is_empty() {
                continue;
            }
            seen += window.len() as u64;
            for (p, column) in params.iter_mut().zip(&self.params) {
                *p = column.at(k);
            }
            let mut ctx = RangeContext {
                eval_ms: self.grid.time(k),
                start_ms,
                end_ms,
                range_ms: range.range_ms,
                edges: range.edges,
                params: &params,
                metric,
                span: range.span,
                notes: &mut *notes,
            };
            match self.at_window(window, &mut ctx)? {
                Some(Output::Float(v)) => column.set_float(k, v),
                Some(Output::Histogram(h)) => column.set_histogram(k, h),
                None => {}
            }
        }
        Ok(seen)
    }

    fn at_window(&self, window: Window<'_>, ctx: &mut RangeContext<'_>) -> StepResult {
        let func = self.call.func;
        match func {
            RangeFn::Rate | RangeFn::Increase | RangeFn::Delta => {
                let kind = RateKind::of(func).expect("these are the three kinds");
                if ctx.edges == Edges::Plain {
                    rate::extrapolated(window, kind, ctx)
                } else {
                    extended::extended(window, kind, ctx)
                }
            }
            RangeFn::Irate => instant_rate::instant_difference(window, true, ctx),
            RangeFn::Idelta => instant_rate::instant_difference(window, false, ctx),
            RangeFn::Deriv => regression::deriv(window, ctx),
            RangeFn::PredictLinear => regression::predict_linear(window, ctx),
            RangeFn::DoubleExponentialSmoothing => regression::double_exponential_smoothing(window, ctx),
            RangeFn::Resets => steps::resets(window, ctx),
            RangeFn::Changes => steps::changes(window, ctx),
            _ => over_time::over_time(func, window, ctx),
        }
    }

    /// Tells of rates of what is no counter by its name or type.
    fn note_non_counter(&self, labels: LabelsRef<'_>, notes: &mut Annotations) {
        let name = labels.metric_name();
        if name.is_empty() {
            return;
        }
        let span = self.call.range.span;
        if self.eval.options.type_and_unit_labels {
            let kind = labels.get("__type__").unwrap_or("");
            if !matches!(kind, "counter" | "histogram") {
                notes.add_labelled(Note::PossibleNonCounterLabel, name, kind, span);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            notes.add_named(Note::PossibleNonCounter, name, span);
        }
    }
}

/// Indexes of the samples in a window that moves forward.
#[derive(Default)]
struct Bounds {
    from: usize,
    to: usize,
}

impl Bounds {
    fn advance(&mut self, t_ms: &[TimestampMs], from: TimestampMs, to: TimestampMs) -> (usize, usize) {
        while self.to < t_ms.len() && t_ms[self.to] <= to {
            self.to += 1;
        }
        while self.from < self.to && t_ms[self.from] <= from {
            self.from += 1;
        }
        (self.from, self.to)
    }
}

impl SeriesSource for RangeLeaf<'_> {
    fn len(&self) -> usize {
        self.input.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        self.input.labels(i)
    }

    fn drops_name(&self, i: usize) -> bool {
        self.call.func.drops_name() || self.input.drops_name(i)
    }

    fn read<'s>(
        &'s self,
        i: usize,
        scratch: &'s mut Scratch,
        notes: &mut Annotations,
    ) -> Result<Option<&'s Column>, QueryError> {
        let Scratch { samples: buf, column, sliding, tally } = scratch;
        self.input.fill(i, self.eval, buf)?;
        if buf.is_empty() {
            return Ok(None);
        }
        self.eval.budget.fits(buf.len())?;
        let func = self.call.func;
        if !(self.eval.options.start_timestamps && func.uses_start_timestamps()) {
            buf.floats.start_ms.clear();
            buf.histograms.start_ms.clear();
        }
        column.reset(self.grid.steps);
        let simple = buf.histograms.is_empty()
            && buf.floats.start_ms.is_empty()
            && self.call.range.edges == Edges::Plain;
        let slid = if simple {
            let out = &mut column.floats;
            slide(func, self.windows(), &buf.floats.t_ms, &buf.floats.value, sliding, out)
        } else {
            None
        };
        let labels = self.labels(i).as_ref();
        let seen = match slid {
            Some(seen) => seen,
            None => self.each_window(buf, labels.metric_name(), column, notes)?,
        };
        tally.add_windows(seen, self.windows_with_edges(), buf, self.input.is_stored());
        if seen == 0 || column.is_empty() {
            return Ok(None);
        }
        if matches!(func, RangeFn::Rate | RangeFn::Increase) && column.has_float() {
            self.note_non_counter(labels, notes);
        }
        Ok(Some(column))
    }

    fn work(&self) -> usize {
        self.input.work() + self.input.len() * self.grid.steps
    }

    fn names_may_collide(&self) -> bool {
        match &self.input {
            RangeInput::Stored(s) => {
                self.call.func.drops_name() && (!s.one_name || self.eval.options.type_and_unit_labels)
            }
            RangeInput::Computed(..) => true,
        }
    }
}
