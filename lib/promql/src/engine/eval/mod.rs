//! Evaluation: from a plan and the data it asked for to values. Synchronous, pure CPU.
//!
//! Leaves (selectors and functions of range selectors) are [`source`]s that yield one series' column at a time
//! into reused buffers; an aggregation right above reduces them as they come, so that no matrix of series × steps
//! is built ([`aggregate`]). Every other node builds the [`Matrix`] of its operands.
//!
//! In the order of the files: [`source`] (columns one by one, on all cores), [`select`] and [`range_call`] (the
//! leaves), [`map`] (functions of samples), [`bucket_call`], [`relabel`], [`info`], [`aggregate`] with
//! [`accumulator`], [`ranking`] (topk and its kin), [`matching`] and [`binary`] (operators), [`shared`] (what a query
//! writes more than once).

pub mod accumulator;
pub mod aggregate;
pub mod binary;
pub mod bucket_call;
pub mod info;
pub mod map;
pub mod matching;
pub mod range_call;
pub mod ranking;
pub mod relabel;
pub mod select;
pub mod set_ops;
pub mod shared;
pub mod source;

use std::sync::Arc;

use cairn_model::storage::Series;
use cairn_runtime::CpuPool;

use super::budget::Budget;
use super::column::{Column, EvalSeries, Matrix, is_absent, without_metadata};
use super::counts::SampleCounts;
use super::error::QueryError;
use super::grid::Grid;
use super::plan::{Fetch, FetchId, Plan, ScalarNode, VectorNode};
use super::samples::DecodeChunk;
use crate::annotations::{Annotations, Note};
use crate::functions::scalar_fn;
use shared::Kept;

/// How an evaluation behaves.
#[derive(Debug, Clone, Copy)]
pub struct EvalOptions {
    /// How long a sample stands for its series.
    pub lookback_ms: i64,
    /// Metric names go at the end of the evaluation and not as soon as a computation makes something else of
    /// the metric.
    pub delayed_name_removal: bool,
    /// Counters are told by their `__type__` label and not by their name.
    pub type_and_unit_labels: bool,
    /// Start timestamps take part in finding counter resets.
    pub start_timestamps: bool,
}

/// One evaluation: plan, data, budget.
pub struct Evaluator<'a> {
    /// What is computed.
    pub plan: &'a Plan,
    /// The data of each fetch of the plan.
    pub data: &'a [Vec<Series>],
    /// How.
    pub options: EvalOptions,
    /// What it may use up.
    pub budget: &'a Arc<Budget>,
    /// What it has looked at.
    pub counts: &'a SampleCounts,
    /// What repeated sub-expressions have given.
    pub kept: &'a Kept,
    /// Reads encoded chunks.
    pub decoder: &'a dyn DecodeChunk,
    /// The cores it may use.
    pub cpu: &'a CpuPool,
}

/// A scalar on a grid.
#[derive(Debug, Clone)]
pub enum ScalarColumn {
    /// The same at all steps.
    Constant(f64),
    /// One a step.
    Steps(Vec<f64>),
}

impl ScalarColumn {
    /// The value at step `k`.
    #[inline]
    pub fn at(&self, k: usize) -> f64 {
        match self {
            ScalarColumn::Constant(v) => *v,
            ScalarColumn::Steps(v) => v[k],
        }
    }

    /// The values that it takes.
    pub fn values(&self) -> &[f64] {
        match self {
            ScalarColumn::Constant(v) => std::slice::from_ref(v),
            ScalarColumn::Steps(v) => v,
        }
    }

    fn map(self, f: impl Fn(f64) -> f64) -> Self {
        match self {
            ScalarColumn::Constant(v) => ScalarColumn::Constant(f(v)),
            ScalarColumn::Steps(v) => ScalarColumn::Steps(v.into_iter().map(f).collect()),
        }
    }

    fn zip(self, other: Self, steps: usize, f: impl Fn(f64, f64) -> f64) -> Self {
        match (&self, &other) {
            (ScalarColumn::Constant(a), ScalarColumn::Constant(b)) => ScalarColumn::Constant(f(*a, *b)),
            _ => ScalarColumn::Steps((0..steps).map(|k| f(self.at(k), other.at(k))).collect()),
        }
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn fetch(&self, id: FetchId) -> (&'a Fetch, &'a [Series]) {
        (&self.plan.fetches[id.0], &self.data[id.0])
    }

    /// The same evaluation, counting elsewhere.
    pub(super) fn counting<'b>(&'b self, counts: &'b SampleCounts) -> Evaluator<'b> {
        Evaluator { counts, ..*self }
    }

    /// Evaluates what is the same at every step, once; it counts at each, and was read at the first.
    fn once<T>(
        &self,
        grid: Grid,
        evaluate: impl FnOnce(&Evaluator<'_>, Grid) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let counts = SampleCounts::of_all_steps();
        let value = evaluate(&self.counting(&counts), grid.first_only())?;
        self.counts.add_at_each(counts.sum().total, grid.steps);
        Ok(value)
    }

    /// Evaluates a scalar.
    pub fn scalar(
        &self,
        node: &ScalarNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<ScalarColumn, QueryError> {
        Ok(match node {
            ScalarNode::Number(v) => ScalarColumn::Constant(*v),
            ScalarNode::Time => {
                ScalarColumn::Steps((0..grid.steps).map(|k| grid.time(k) as f64 / 1000.0).collect())
            }
            ScalarNode::OfVector(v) => self.only_float(v, grid, notes)?,
            ScalarNode::MaxOf(a, b) => {
                let (a, b) = (self.scalar(a, grid, notes)?, self.scalar(b, grid, notes)?);
                a.zip(b, grid.steps, scalar_fn::max)
            }
            ScalarNode::MinOf(a, b) => {
                let (a, b) = (self.scalar(a, grid, notes)?, self.scalar(b, grid, notes)?);
                a.zip(b, grid.steps, scalar_fn::min)
            }
            ScalarNode::Negate(a) => self.scalar(a, grid, notes)?.map(|v| -v),
            ScalarNode::Binary(op, a, b) => {
                let (a, b) = (self.scalar(a, grid, notes)?, self.scalar(b, grid, notes)?);
                a.zip(b, grid.steps, |x, y| scalar_fn::binary(*op, x, y))
            }
            ScalarNode::StepInvariant(a) => {
                let once = self.once(grid, |eval, first| eval.scalar(a, first, notes))?;
                match once.values().first() {
                    Some(v) => ScalarColumn::Constant(*v),
                    None => once,
                }
            }
        })
    }

    /// `scalar(v)`: the only float of a step, NaN when there is none or another.
    fn only_float(
        &self,
        node: &VectorNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<ScalarColumn, QueryError> {
        let matrix = self.vector(node, grid, notes)?;
        let mut values = vec![f64::NAN; grid.steps];
        let mut found = vec![0u8; grid.steps];
        for s in &matrix.series {
            for (i, v) in s.column.floats.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                let k = s.column.first + i;
                found[k] = found[k].saturating_add(1);
                values[k] = if found[k] == 1 { *v } else { f64::NAN };
            }
        }
        Ok(ScalarColumn::Steps(values))
    }

    /// Evaluates an instant vector.
    pub fn vector(
        &self,
        node: &VectorNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        self.budget.check()?;
        match node {
            VectorNode::Select(_) | VectorNode::SampleTime { .. } | VectorNode::RangeCall(_) => {
                let leaf = self.leaf(node, grid, notes)?;
                let matrix = self.collect(&*leaf, grid, notes)?;
                if !self.options.delayed_name_removal && leaf.names_may_collide() {
                    matrix.refuse_same_labels()?;
                }
                Ok(matrix)
            }
            VectorNode::Empty => Ok(Matrix::default()),
            VectorNode::Map(m) => self.map(m, grid, notes),
            VectorNode::DateNow(part) => {
                let values = (0..grid.steps).map(|k| part.at(grid.time(k).div_euclid(1000) as f64));
                Ok(self.unnamed(Column { first: 0, floats: values.collect(), histograms: Vec::new() }))
            }
            VectorNode::OfScalar(s) => {
                let s = self.scalar(s, grid, notes)?;
                let floats = (0..grid.steps).map(|k| s.at(k)).collect();
                Ok(self.unnamed(Column { first: 0, floats, histograms: Vec::new() }))
            }
            VectorNode::Absent(arg, labels) => self.absent(arg, labels, grid, notes),
            VectorNode::AbsentOverTime(range, labels) => self.absent_over_time(range, labels, grid, notes),
            VectorNode::BucketCall(call) => self.bucket_call(call, grid, notes),
            VectorNode::Sort(sort) => self.sort(sort, grid, notes),
            VectorNode::Relabel(relabel) => self.relabel(relabel, grid, notes),
            VectorNode::Info(info) => self.info(info, grid, notes),
            VectorNode::Aggregate(a) => self.aggregate(a, grid, notes),
            VectorNode::Binary(b) => self.binary(b, grid, notes),
            VectorNode::ScalarBinary(b) => self.scalar_binary(b, grid, notes),
            VectorNode::Negate(arg) => self.negate(arg, grid, notes),
            VectorNode::Shared(s) => self.shared(s, grid, notes),
            VectorNode::StepInvariant(arg) => {
                let mut matrix = self.once(grid, |eval, first| eval.vector(arg, first, notes))?;
                for s in &mut matrix.series {
                    self.repeat(&mut s.column, grid.steps);
                    matrix.charge.grow(s.column.cells().saturating_sub(1))?;
                }
                Ok(matrix)
            }
        }
    }

    fn repeat(&self, column: &mut Column, steps: usize) {
        if let Some(v) = column.floats.first().copied() {
            column.floats.resize(steps, v);
        }
        if let Some(h) = column.histograms.first().cloned() {
            column.histograms.resize(steps, h);
        }
    }

    /// A matrix of one series without labels.
    fn unnamed(&self, column: Column) -> Matrix {
        let series = if column.floats.is_empty() {
            Vec::new()
        } else {
            vec![EvalSeries { labels: cairn_model::Labels::empty(), drop_name: false, column }]
        };
        Matrix { series, ..Matrix::default() }
    }

    /// Marks a series' metric name as gone, at once or at the end of the evaluation.
    pub(super) fn drop_name(&self, s: &mut EvalSeries) {
        if self.options.delayed_name_removal {
            s.drop_name = true;
        } else {
            s.labels = without_metadata(&s.labels);
        }
    }

    /// After names have gone at once: joins series that can no longer be told apart.
    pub(super) fn join_renamed(&self, matrix: &mut Matrix) -> Result<(), QueryError> {
        if self.options.delayed_name_removal { Ok(()) } else { matrix.merge_same_labels() }
    }

    /// The end of an evaluation: names that were to go are gone.
    pub fn finish(&self, matrix: &mut Matrix) -> Result<(), QueryError> {
        if !self.options.delayed_name_removal {
            return Ok(());
        }
        for s in matrix.series.iter_mut().filter(|s| s.drop_name) {
            s.labels = without_metadata(&s.labels);
        }
        matrix.merge_same_labels()
    }

    pub(super) fn note_quantile(&self, q: f64, span: crate::parser::ast::Span, notes: &mut Annotations) {
        if !(0.0..=1.0).contains(&q) {
            notes.add(Note::InvalidQuantile { q_bits: q.to_bits() }, span);
        }
    }
}
