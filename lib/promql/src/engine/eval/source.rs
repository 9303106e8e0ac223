//! Columns one by one: what leaves yield and aggregations consume, on several threads.
//!
//! Work is cut into contiguous stretches of series, one a core; what the stretches give is joined in their order, so
//! results depend neither on which core was faster nor on how many took part.
//!
//! This is a hot file: a leaf writes into buffers that live as long as its stretch.

use std::borrow::Borrow;
use std::ops::Range;

use cairn_model::Labels;

use super::super::column::{Column, EvalSeries, Matrix};
use super::super::counts::Tally;
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::samples::SampleBuf;
use super::Evaluator;
use crate::annotations::Annotations;
use crate::functions::sliding;

/// Series between two looks at cancellation and deadline. A series takes some ten microseconds, seldom a
/// millisecond, so a query ends well within 100 ms.
const CHECK_EVERY: usize = 64;

/// Estimated work below which a second core costs more than it saves: it takes some 50 µs to begin, a unit of work
/// about 7 ns.
const PARALLEL_WORK: usize = 60_000;

/// Buffers of one thread.
#[derive(Default)]
pub struct Scratch {
    /// Decoded samples.
    pub samples: SampleBuf,
    /// The column under construction.
    pub column: Column,
    /// For sliding functions.
    pub sliding: sliding::Scratch,
    /// Samples that steps have looked at.
    pub tally: Tally,
}

/// Series whose columns can be asked for one by one, from any thread.
#[allow(clippy::len_without_is_empty)] // nobody asks
pub trait SeriesSource: Sync {
    /// How many series.
    fn len(&self) -> usize;

    /// Labels of series `i`, before any name is removed.
    fn labels(&self, i: usize) -> &Labels;

    /// Whether the name of series `i` is to go.
    fn drops_name(&self, i: usize) -> bool;

    /// The column of series `i`; `None` when it has no value. It may be wider than its values.
    ///
    /// # Errors
    /// A budget is used up, or data cannot be decoded.
    fn read<'s>(
        &'s self,
        i: usize,
        scratch: &'s mut Scratch,
        notes: &mut Annotations,
    ) -> Result<Option<&'s Column>, QueryError>;

    /// Roughly how many samples and steps all series together take.
    fn work(&self) -> usize;

    /// Whether series may have the same labels once names are gone.
    fn names_may_collide(&self) -> bool;
}

/// The series of a matrix, its own or a borrowed one.
pub struct MatrixSource<M>(pub M);

impl<M: Borrow<Matrix> + Sync> SeriesSource for MatrixSource<M> {
    fn len(&self) -> usize {
        self.0.borrow().series.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        &self.0.borrow().series[i].labels
    }

    fn drops_name(&self, i: usize) -> bool {
        self.0.borrow().series[i].drop_name
    }

    fn read<'s>(
        &'s self,
        i: usize,
        _: &'s mut Scratch,
        _: &mut Annotations,
    ) -> Result<Option<&'s Column>, QueryError> {
        Ok(Some(&self.0.borrow().series[i].column))
    }

    fn work(&self) -> usize {
        self.0.borrow().series.iter().map(|s| s.column.floats.len()).sum()
    }

    fn names_may_collide(&self) -> bool {
        false // the node that made the matrix saw to it
    }
}

impl Evaluator<'_> {
    /// Runs `job` over stretches of `0 .. items`, on several threads when `work` is worth it, and gives the
    /// results in the order of the stretches.
    pub fn in_stretches<R: Send>(
        &self,
        items: usize,
        work: usize,
        notes: &mut Annotations,
        job: impl Fn(Range<usize>, &mut Scratch, &mut Annotations) -> Result<R, QueryError> + Sync,
    ) -> Result<Vec<R>, QueryError> {
        let stretches = self.cpu.parallelism().min(items).min(1 + work / PARALLEL_WORK).max(1);
        let job = |range, notes: &mut Annotations| {
            let mut scratch = Scratch { tally: self.counts.tally(), ..Scratch::default() };
            let result = job(range, &mut scratch, notes);
            self.counts.add(&scratch.tally);
            result
        };
        if stretches == 1 {
            return Ok(vec![job(0..items, notes)?]);
        }
        let bound = |i: usize| items * i / stretches;
        let results = self.cpu.share(stretches, |i| {
            let mut notes = Annotations::default();
            let result = job(bound(i)..bound(i + 1), &mut notes);
            (result, notes)
        });
        let mut values = Vec::with_capacity(stretches);
        for (result, part) in results {
            notes.merge(part);
            values.push(result?);
        }
        Ok(values)
    }

    /// Stops every [`CHECK_EVERY`]-th time when the evaluation must end.
    #[inline]
    pub fn check_at(&self, i: usize) -> Result<(), QueryError> {
        if i.is_multiple_of(CHECK_EVERY) { self.budget.check() } else { Ok(()) }
    }

    /// Builds the matrix of a source.
    pub fn collect(
        &self,
        source: &dyn SeriesSource,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        if grid.steps == 0 {
            return Ok(Matrix::default());
        }
        let parts = self.in_stretches(source.len(), source.work(), notes, |range, scratch, notes| {
            let mut part = Matrix { series: Vec::with_capacity(range.len()), charge: self.budget.hold(0)? };
            for i in range {
                self.check_at(i)?;
                let Some(column) = source.read(i, scratch, notes)?.and_then(Column::trimmed) else {
                    continue;
                };
                part.charge.grow(column.cells())?;
                let mut s = EvalSeries { labels: source.labels(i).clone(), drop_name: false, column };
                if source.drops_name(i) {
                    self.drop_name(&mut s);
                }
                part.series.push(s);
            }
            Ok(part)
        })?;
        let mut parts = parts.into_iter();
        let mut matrix = parts.next().unwrap_or_default();
        for part in parts {
            matrix.series.extend(part.series);
            matrix.charge.absorb(part.charge);
        }
        Ok(matrix)
    }
}
