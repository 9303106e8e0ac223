//! Sub-expressions that a query writes more than once: the first occurrence is evaluated, the others take what it gave.
//!
//! A value is written once and only read from then on ([`OnceLock`]), so nothing is locked. It serves an evaluation for
//! the same times; the notes come again with the positions of the occurrence, and the samples count again, as
//! Prometheus, which evaluates each occurrence, counts them.
//!
//! Values are kept to the end of the evaluation, in memory of their own ([`MAX_KEPT_CELLS`]) that is not charged to the
//! query: it is refused for what it would hold without them. What does not fit is evaluated again at each occurrence; a
//! leaf that an aggregation reduces is then streamed as ever, which is known before it is read.
//!
//! Invariant: whether a value was kept shows in the time that a query takes, in nothing else.

use std::borrow::Borrow;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::budget::Charge;
use super::super::column::Matrix;
use super::super::counts::Tally;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{Plan, RangeSource, VectorNode};
use super::super::repeats::{Shared, SharedId};
use super::Evaluator;
use super::source::{MatrixSource, SeriesSource};
use crate::annotations::Annotations;

/// Floats that all kept values of a query may have: 16 MB. Judgement: 5,000 series at 400 steps, and little beside the
/// samples that a query may hold by default.
pub const MAX_KEPT_CELLS: usize = 2 << 20;

/// The values that are kept in one evaluation.
pub struct Kept {
    values: Vec<OnceLock<Value>>,
    /// Floats that may still be kept.
    room: AtomicUsize,
}

/// What the first occurrence has given.
struct Value {
    /// Where it begins, as [`Shared::first`].
    first: usize,
    grid: Grid,
    matrix: Matrix,
    notes: Annotations,
    counted: Tally,
}

impl Kept {
    /// Nothing yet, in an evaluation of `plan`.
    pub fn new(plan: &Plan) -> Self {
        Kept {
            values: plan.repeats.uses.iter().map(|_| OnceLock::new()).collect(),
            room: AtomicUsize::new(MAX_KEPT_CELLS),
        }
    }

    fn fits(&self, cells: usize) -> bool {
        cells <= self.room.load(Ordering::Relaxed)
    }

    /// Keeps a value if there is room for it, and none already.
    fn keep(&self, id: SharedId, mut value: Value) -> Given<'_> {
        let cells = value.matrix.cells();
        let place = &self.values[id.0];
        let taken = |room: usize| room.checked_sub(cells).filter(|_| place.get().is_none());
        if self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_err() {
            return Given::Own(value.matrix);
        }
        value.matrix.charge = Charge::default();
        Given::Kept(&place.get_or_init(|| value).matrix)
    }
}

/// What an occurrence has given.
enum Given<'a> {
    /// It is kept for all.
    Kept(&'a Matrix),
    /// It is this occurrence's own.
    Own(Matrix),
}

impl Borrow<Matrix> for Given<'_> {
    fn borrow(&self) -> &Matrix {
        match self {
            Given::Kept(matrix) => matrix,
            Given::Own(matrix) => matrix,
        }
    }
}

impl Evaluator<'_> {
    /// Evaluates an occurrence of a repeated sub-expression.
    pub(super) fn shared(
        &self,
        s: &Shared,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        if !self.plan.repeats.is_shared(s.id) {
            return self.vector(&s.node, grid, notes);
        }
        let given = match self.known(s, grid, notes) {
            Some(given) => given,
            None => self.evaluate_and_keep(s, grid, notes)?,
        };
        match given {
            Given::Kept(matrix) => self.copy(matrix),
            Given::Own(matrix) => Ok(matrix),
        }
    }

    /// What an aggregation reads of an occurrence.
    pub(super) fn shared_source<'b>(
        &'b self,
        s: &'b Shared,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Box<dyn SeriesSource + 'b>, QueryError> {
        if !self.plan.repeats.is_shared(s.id) {
            return self.source(&s.node, grid, notes);
        }
        if let Some(given) = self.known(s, grid, notes) {
            return Ok(Box::new(MatrixSource(given)));
        }
        let Some(cells) = self.cells_of_leaf(&s.node, grid) else {
            return Ok(Box::new(MatrixSource(self.evaluate_and_keep(s, grid, notes)?)));
        };
        // A stream holds nothing, so it must not be refused for what it is about to hold.
        if self.kept.fits(cells)
            && self.budget.has_room(cells)
            && let Ok(given) = self.evaluate_and_keep(s, grid, notes)
        {
            return Ok(Box::new(MatrixSource(given)));
        }
        self.leaf(&s.node, grid, notes)
    }

    /// What an earlier occurrence gave, counted and noted for this one.
    fn known(&self, s: &Shared, grid: Grid, notes: &mut Annotations) -> Option<Given<'_>> {
        let value = self.kept.values[s.id.0].get()?;
        if value.grid != grid || !self.counts.takes(&value.counted) {
            return None;
        }
        self.counts.add(&value.counted);
        let repeats = &self.plan.repeats;
        notes.merge(value.notes.moved(|span| repeats.counterpart(span, value.first, s.first)));
        Some(Given::Kept(&value.matrix))
    }

    /// Evaluates an occurrence, with notes and counts of its own, and keeps what it gives if that is possible.
    fn evaluate_and_keep(
        &self,
        s: &Shared,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Given<'_>, QueryError> {
        let counts = self.counts.alike();
        let mut noted = Annotations::default();
        let matrix = self.counting(&counts).vector(&s.node, grid, &mut noted)?;
        let counted = counts.sum();
        self.counts.add(&counted);
        notes.merge(noted.clone());
        Ok(self.kept.keep(s.id, Value { first: s.first, grid, matrix, notes: noted, counted }))
    }

    /// A kept matrix as one of the evaluation's own.
    fn copy(&self, kept: &Matrix) -> Result<Matrix, QueryError> {
        let charge = self.budget.hold(kept.cells())?;
        Ok(Matrix { series: kept.series.clone(), charge })
    }

    /// Floats that the columns of a leaf may have, where stored samples are all it reads.
    fn cells_of_leaf(&self, node: &VectorNode, grid: Grid) -> Option<usize> {
        let fetch = match node {
            VectorNode::Select(select) | VectorNode::SampleTime { select, .. } => select.fetch,
            VectorNode::RangeCall(call) => match call.range.source {
                RangeSource::Selector { fetch, .. } => fetch,
                RangeSource::Subquery(..) => return None,
            },
            _ => return None,
        };
        Some(self.fetch(fetch).1.len().saturating_mul(grid.steps))
    }
}
