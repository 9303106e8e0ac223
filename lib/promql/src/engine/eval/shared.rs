//! Sub-expressions that a query writes more than once: the first occurrence is evaluated, the others take what it gave.
//!
//! A value serves an evaluation for the same times; the notes come again with the positions of the occurrence, and the
//! samples count again, as Prometheus, which evaluates each occurrence, counts them.
//!
//! Values are kept until the last occurrence has come, which the plan has counted, in memory of their own
//! ([`MAX_KEPT_CELLS`]) that is not charged to the query: it is refused for what it would hold without them. The last
//! occurrence has the value for itself, and its room is free again when it is gone. What does not fit is evaluated again
//! at each occurrence; a leaf that an aggregation reduces is then streamed as ever, which is known before it is read.
//!
//! Invariant: whether a value was kept, and for how long, shows in the time that a query takes, in nothing else. So it does
//! no harm when an occurrence comes twice or never.

use std::borrow::Borrow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

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

/// Floats that all kept values of a query may have at a time: 16 MB. Judgement: 5,000 series at 400 steps, and little
/// beside the samples that a query may hold by default.
pub const MAX_KEPT_CELLS: usize = 2 << 20;

/// The values that are kept in one evaluation.
pub struct Kept {
    places: Vec<Mutex<Place>>,
    /// Floats that may still be kept.
    free: Arc<AtomicUsize>,
}

/// Where the value of one repeated sub-expression is kept.
struct Place {
    /// Occurrences that have not come yet.
    to_come: u32,
    value: Option<Arc<Value>>,
}

/// What the first occurrence has given.
struct Value {
    /// Where it begins, as [`Shared::first`].
    first: usize,
    grid: Grid,
    matrix: Matrix,
    notes: Annotations,
    counted: Tally,
    /// Held for the matrix.
    _room: Room,
}

/// Floats of [`MAX_KEPT_CELLS`]; free again when dropped.
struct Room {
    free: Arc<AtomicUsize>,
    cells: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.free.fetch_add(self.cells, Ordering::Relaxed);
    }
}

/// What an occurrence finds when it comes.
struct Arrival {
    value: Option<Arc<Value>>,
    /// No other occurrence is to come: nothing needs to be kept.
    is_last: bool,
}

impl Kept {
    /// Nothing yet, in an evaluation of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let place = |uses: &u32| Mutex::new(Place { to_come: *uses, value: None });
        Kept {
            places: plan.repeats.uses.iter().map(place).collect(),
            free: Arc::new(AtomicUsize::new(MAX_KEPT_CELLS)),
        }
    }

    fn place(&self, id: SharedId) -> MutexGuard<'_, Place> {
        self.places[id.0].lock().expect("nothing panics while it is held")
    }

    /// An occurrence comes. The last one takes the value with it.
    fn arrive(&self, id: SharedId) -> Arrival {
        let mut place = self.place(id);
        place.to_come = place.to_come.saturating_sub(1);
        let is_last = place.to_come == 0;
        let value = if is_last { place.value.take() } else { place.value.clone() };
        Arrival { value, is_last }
    }

    fn fits(&self, cells: usize) -> bool {
        cells <= self.free.load(Ordering::Relaxed)
    }

    fn take_room(&self, cells: usize) -> Option<Room> {
        let taken = |free: usize| free.checked_sub(cells);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        Some(Room { free: self.free.clone(), cells })
    }
}

/// What an occurrence has given.
enum Given {
    /// It is kept for others, or was until now.
    Kept(Arc<Value>),
    /// It is this occurrence's own.
    Own(Matrix),
}

impl Borrow<Matrix> for Given {
    fn borrow(&self) -> &Matrix {
        match self {
            Given::Kept(value) => &value.matrix,
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
        let arrival = self.kept.arrive(s.id);
        let given = match self.known(s, arrival.value, grid, notes) {
            Some(value) => Given::Kept(value),
            None if arrival.is_last => Given::Own(self.vector(&s.node, grid, notes)?),
            None => self.evaluate_and_keep(s, grid, notes)?,
        };
        match given {
            Given::Kept(value) => self.own(value),
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
        let arrival = self.kept.arrive(s.id);
        if let Some(value) = self.known(s, arrival.value, grid, notes) {
            return Ok(Box::new(MatrixSource(Given::Kept(value))));
        }
        if arrival.is_last {
            return self.source(&s.node, grid, notes);
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
    fn known(
        &self,
        s: &Shared,
        value: Option<Arc<Value>>,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Option<Arc<Value>> {
        let value = value.filter(|value| value.grid == grid && self.counts.takes(&value.counted))?;
        self.counts.add(&value.counted);
        let repeats = &self.plan.repeats;
        notes.merge(value.notes.moved(|span| repeats.counterpart(span, value.first, s.first)));
        Some(value)
    }

    /// Evaluates an occurrence, with notes and counts of its own, and keeps what it gives if there is room for it and
    /// nothing is kept already.
    fn evaluate_and_keep(
        &self,
        s: &Shared,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Given, QueryError> {
        let counts = self.counts.alike();
        let mut noted = Annotations::default();
        let mut matrix = self.counting(&counts).vector(&s.node, grid, &mut noted)?;
        let counted = counts.sum();
        self.counts.add(&counted);
        notes.merge(noted.clone());
        let mut place = self.kept.place(s.id);
        let room = if place.value.is_none() { self.kept.take_room(matrix.cells()) } else { None };
        let Some(room) = room else { return Ok(Given::Own(matrix)) };
        matrix.charge = Charge::default();
        let value = Value { first: s.first, grid, matrix, notes: noted, counted, _room: room };
        Ok(Given::Kept(place.value.insert(Arc::new(value)).clone()))
    }

    /// A kept value as a matrix of the evaluation's own: a copy, unless nobody else holds it.
    fn own(&self, value: Arc<Value>) -> Result<Matrix, QueryError> {
        let charge = self.budget.hold(value.matrix.cells())?;
        let series = match Arc::try_unwrap(value) {
            Ok(value) => value.matrix.series,
            Err(value) => value.matrix.series.clone(),
        };
        Ok(Matrix { series, charge })
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
