//! Functions of each sample, signs, absence and order.

use std::cmp::Ordering;

use cairn_model::Labels;

use super::super::column::{ABSENT, Column, EvalSeries, Matrix, Point, is_absent};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{Map, MapFn, RangeNode, Sort, VectorNode};
use super::super::samples::SampleBuf;
use super::Evaluator;
use crate::annotations::{Annotations, Note};
use crate::functions::natural;
use crate::functions::quantile::nan_first;
use crate::functions::scalar_fn::{clamp, round};

impl Evaluator<'_> {
    /// Evaluates a function of each sample.
    pub(super) fn map(&self, m: &Map, grid: Grid, notes: &mut Annotations) -> Result<Matrix, QueryError> {
        let mut matrix = self.vector(&m.arg, grid, notes)?;
        let params = m.params.iter().map(|p| self.scalar(p, grid, notes)).collect::<Result<Vec<_>, _>>()?;
        for s in &mut matrix.series {
            let column = &mut s.column;
            match m.func {
                MapFn::Float(f) => each_float(column, |_, v| f(v)),
                MapFn::Date(part) => each_float(column, |_, v| part.at(v)),
                MapFn::Round => each_float(column, |k, v| round(v, params[0].at(k))),
                MapFn::Clamp => each_float(column, |k, v| {
                    let (low, high) = (params[0].at(k), params[1].at(k));
                    if high < low { ABSENT } else { clamp(v, low, high) }
                }),
                MapFn::Histogram(f) => each_histogram(column, f),
                MapFn::EvalTime => {
                    let steps: Vec<usize> = column.points().map(|(k, _)| k).collect();
                    column.drop_histograms();
                    steps.into_iter().for_each(|k| column.set_float(k, grid.time(k) as f64 / 1000.0));
                }
            }
            self.drop_name(s);
        }
        matrix.series.retain(|s| !s.column.is_empty());
        self.join_renamed(&mut matrix)?;
        Ok(matrix)
    }

    /// Evaluates a minus sign.
    pub(super) fn negate(
        &self,
        arg: &VectorNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let mut matrix = self.vector(arg, grid, notes)?;
        for s in &mut matrix.series {
            s.column.floats.iter_mut().filter(|v| !is_absent(**v)).for_each(|v| *v = -*v);
            for h in s.column.histograms.iter_mut().flatten() {
                let mut negative = (**h).clone();
                negative.mul(-1.0);
                *h = negative.into();
            }
            self.drop_name(s);
        }
        self.join_renamed(&mut matrix)?;
        Ok(matrix)
    }

    /// Evaluates `absent`.
    pub(super) fn absent(
        &self,
        arg: &VectorNode,
        labels: &Labels,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let matrix = self.vector(arg, grid, notes)?;
        let mut missing = Column::constant(1.0, grid.steps);
        for s in &matrix.series {
            s.column.points().for_each(|(k, _)| missing.set_float(k, ABSENT));
        }
        Ok(one_series(labels, missing))
    }

    /// Evaluates `absent_over_time`.
    pub(super) fn absent_over_time(
        &self,
        range: &RangeNode,
        labels: &Labels,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let input = self.range_input(range, grid, notes)?;
        let mut missing = Column::constant(1.0, grid.steps);
        let mut buf = SampleBuf::default();
        let (windows, mut tally) = (range.windows(grid), self.counts.tally());
        for i in 0..input.len() {
            self.check_at(i)?;
            input.fill(i, self, &mut buf)?;
            tally.count_windows(windows, &buf, input.is_stored());
            for t in [&buf.floats.t_ms, &buf.histograms.t_ms] {
                for k in 0..grid.steps {
                    let end = range.reference.time(grid.time(k));
                    let after = t.partition_point(|t| *t <= end - range.range_ms);
                    if t.get(after).is_some_and(|t| *t <= end) {
                        missing.set_float(k, ABSENT);
                    }
                }
            }
        }
        self.counts.add(&tally);
        Ok(one_series(labels, missing))
    }

    /// Evaluates sorting, which shows only in instant queries.
    pub(super) fn sort(
        &self,
        sort: &Sort,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        if grid.steps > 1 {
            notes.add(Note::SortInRangeQuery, sort.span);
        }
        let mut matrix = self.vector(&sort.arg, grid, notes)?;
        match &sort.by_labels {
            Some(names) => matrix.series.sort_by(|a, b| {
                let order = by_labels(names, &a.labels, &b.labels);
                if sort.descending { order.reverse() } else { order }
            }),
            None => {
                for s in &mut matrix.series {
                    s.column.drop_histograms();
                }
                matrix.series.retain(|s| !s.column.is_empty());
                if grid.steps == 1 {
                    matrix.series.sort_by(|a, b| by_value(&a.column, &b.column, sort.descending));
                }
            }
        }
        Ok(matrix)
    }
}

fn each_float(column: &mut Column, f: impl Fn(usize, f64) -> f64) {
    column.drop_histograms();
    let first = column.first;
    for (i, v) in column.floats.iter_mut().enumerate().filter(|(_, v)| !is_absent(**v)) {
        *v = f(first + i, *v);
    }
}

fn each_histogram(column: &mut Column, f: fn(&cairn_model::FloatHistogram) -> f64) {
    let histograms = std::mem::take(&mut column.histograms);
    column.floats.fill(ABSENT);
    for (v, h) in column.floats.iter_mut().zip(histograms) {
        if let Some(h) = h {
            *v = f(&h);
        }
    }
}

fn one_series(labels: &Labels, column: Column) -> Matrix {
    let mut series = Vec::new();
    if !column.is_empty() {
        series.push(EvalSeries { labels: labels.clone(), drop_name: false, column });
    }
    Matrix { series, ..Matrix::default() }
}

fn by_labels(names: &[String], a: &Labels, b: &Labels) -> Ordering {
    for name in names {
        let (x, y) = (a.get(name).unwrap_or(""), b.get(name).unwrap_or(""));
        if x != y {
            return natural::compare(x, y).then_with(|| x.cmp(y));
        }
    }
    a.cmp(b)
}

/// NaN comes last either way.
fn by_value(a: &Column, b: &Column, descending: bool) -> Ordering {
    let value = |c: &Column| match c.points().next() {
        Some((_, Point::Float(v))) => v,
        _ => f64::NAN,
    };
    let (x, y) = (value(a), value(b));
    match (x.is_nan(), y.is_nan()) {
        (false, false) if descending => nan_first(&y, &x),
        (false, false) => nan_first(&x, &y),
        (x, y) => x.cmp(&y),
    }
}
