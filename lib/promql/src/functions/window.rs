//! What a function of a range vector sees at one step.

use std::sync::Arc;

use cairn_model::{FloatHistogram, TimestampMs};

use crate::annotations::{Annotations, Note};
use crate::engine::error::QueryError;
use crate::engine::plan::Edges;
use crate::parser::ast::Span;

/// Samples of one kind inside a range, in order of time, stale markers removed.
#[derive(Debug)]
pub struct Samples<'a, T> {
    /// When.
    pub t_ms: &'a [TimestampMs],
    /// What.
    pub value: &'a [T],
    /// Start timestamps, 0 = unknown; empty when they are unknown or not asked for.
    pub start_ms: &'a [TimestampMs],
}

impl<T> Clone for Samples<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Samples<'_, T> {}

impl<T> Samples<'_, T> {
    /// How many.
    pub fn len(&self) -> usize {
        self.t_ms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.t_ms.is_empty()
    }

    /// Start timestamp of sample `i`, 0 when unknown.
    pub fn start(&self, i: usize) -> TimestampMs {
        self.start_ms.get(i).copied().unwrap_or(0)
    }
}

/// The samples of a range.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    /// Floats.
    pub floats: Samples<'a, f64>,
    /// Histograms.
    pub histograms: Samples<'a, Arc<FloatHistogram>>,
}

impl Window<'_> {
    /// Samples of both kinds.
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are floats and histograms.
    pub fn is_mixed(&self) -> bool {
        !self.floats.is_empty() && !self.histograms.is_empty()
    }
}

/// The range and its surroundings.
pub struct RangeContext<'a> {
    /// When the expression is evaluated.
    pub eval_ms: TimestampMs,
    /// Start of the range; itself outside.
    pub start_ms: TimestampMs,
    /// End of the range; itself inside.
    pub end_ms: TimestampMs,
    /// Length of the range.
    pub range_ms: i64,
    /// How the edges are treated. Windows of [`Edges::Anchored`] and [`Edges::Smoothed`] hold samples outside
    /// the range.
    pub edges: Edges,
    /// The other arguments at this step.
    pub params: &'a [f64],
    /// Name of the metric, for annotations.
    pub metric: &'a str,
    /// Place of the range vector, for annotations.
    pub span: Span,
    /// Collects annotations.
    pub notes: &'a mut Annotations,
}

impl RangeContext<'_> {
    /// The range in seconds.
    pub fn range_s(&self) -> f64 {
        self.range_ms as f64 / 1000.0
    }

    /// Adds a note about the metric.
    pub fn note(&mut self, note: Note) {
        self.notes.add_named(note, self.metric, self.span);
    }

    /// Adds a note that names no metric.
    pub fn note_unnamed(&mut self, note: Note) {
        self.notes.add(note, self.span);
    }
}

/// What a function yields for a step.
#[derive(Debug, Clone)]
pub enum Output {
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(Arc<FloatHistogram>),
}

impl Output {
    /// A histogram that was just computed.
    pub fn histogram(h: FloatHistogram) -> Self {
        Output::Histogram(Arc::new(h))
    }
}

/// A value, nothing, or the end of the query.
pub type StepResult = Result<Option<Output>, QueryError>;
