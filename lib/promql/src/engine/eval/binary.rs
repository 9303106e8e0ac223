//! Operators between two vectors, and between a vector and a scalar.
//!
//! Series are brought together once by their signatures; then every pair of columns is combined in one go. What
//! Prometheus checks step by step (no two partners at one step, no two results with the same labels) is checked
//! only where a match has more than one series on a side.

use std::sync::Arc;

use cairn_model::histogram::Keep;
use cairn_model::{CounterResetHint, FloatHistogram, Labels};
use hashbrown::HashMap;

use super::super::column::{Column, EvalSeries, Histogram, Matrix, Point, SAME_LABELSET, is_absent};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{VectorBinary, VectorScalarBinary};
use super::matching::{Match, Signature, matches, result_labels};
use super::{Evaluator, ScalarColumn};
use crate::annotations::{Annotations, HistogramOp, Note, SampleKind};
use crate::functions::scalar_fn::{arithmetic, compare};
use crate::parser::ast::{BinaryOp, Span, VectorMatchCardinality, VectorMatching};

/// What an operator yields for two samples.
pub(super) enum Combined {
    Float(f64),
    Histogram(Histogram),
    /// A comparison held; the left sample is the result.
    Left,
    /// A comparison did not hold.
    Dropped,
    /// The operator has no meaning for these samples; this was told.
    Nothing,
}

/// Whether `op` makes something else of a metric, so that its name goes.
fn changes_metric(op: BinaryOp) -> bool {
    op.is_arithmetic()
}

/// Whether `op` has a meaning for samples of these kinds.
fn has_meaning(op: BinaryOp, left: Point<'_>, right: Point<'_>) -> bool {
    use BinaryOp::{Add, Div, Eql, Mul, Neq, Sub};
    match (left, right) {
        (Point::Float(_), Point::Float(_)) => !op.is_trim(),
        (Point::Float(_), Point::Histogram(_)) => op == Mul,
        (Point::Histogram(_), Point::Float(_)) => matches!(op, Mul | Div) || op.is_trim(),
        (Point::Histogram(a), Point::Histogram(b)) => {
            let addable = a.uses_custom_buckets() == b.uses_custom_buckets();
            matches!(op, Eql | Neq) || (addable && matches!(op, Add | Sub))
        }
    }
}

/// Applies `op` to two samples.
pub(super) fn combine(
    op: BinaryOp,
    left: Point<'_>,
    right: Point<'_>,
    span: Span,
    notes: &mut Annotations,
) -> Combined {
    use SampleKind::{Float, Histogram as Hist};
    let held = |yes: bool| if yes { Combined::Left } else { Combined::Dropped };
    let computed = |h: FloatHistogram| {
        let mut h = h;
        h.compact();
        Combined::Histogram(Arc::new(h))
    };
    let (a, b) = match (left, right) {
        (Point::Float(a), Point::Float(b)) => {
            if op.is_comparison() {
                return held(compare(op, a, b));
            }
            if op.is_arithmetic() {
                return Combined::Float(arithmetic(op, a, b));
            }
            (Float, Float)
        }
        (Point::Float(a), Point::Histogram(h)) => {
            if op == BinaryOp::Mul {
                let mut h = (**h).clone();
                h.mul(a);
                return computed(h);
            }
            (Float, Hist)
        }
        (Point::Histogram(h), Point::Float(b)) => {
            let result = || (**h).clone();
            match op {
                BinaryOp::Mul => {
                    let mut h = result();
                    h.mul(b);
                    return computed(h);
                }
                BinaryOp::Div => {
                    let mut h = result();
                    h.div(b);
                    return computed(h);
                }
                BinaryOp::TrimUpper | BinaryOp::TrimLower => {
                    let mut h = result();
                    h.trim(b, if op == BinaryOp::TrimUpper { Keep::Below } else { Keep::Above });
                    return Combined::Histogram(Arc::new(h));
                }
                _ => (Hist, Float),
            }
        }
        (Point::Histogram(a), Point::Histogram(b)) => match op {
            BinaryOp::Add | BinaryOp::Sub => return add_histograms(op, a, b, span, notes),
            BinaryOp::Eql => return held(a.same_data(b)),
            BinaryOp::Neq => return held(!a.same_data(b)),
            _ => (Hist, Hist),
        },
    };
    notes.add(Note::IncompatibleTypes(a, op, b), span);
    Combined::Nothing
}

fn add_histograms(
    op: BinaryOp,
    a: &FloatHistogram,
    b: &FloatHistogram,
    span: Span,
    notes: &mut Annotations,
) -> Combined {
    let mut h = a.clone();
    let (done, word) = if op == BinaryOp::Add {
        (h.add(b), HistogramOp::Addition)
    } else {
        (h.sub(b), HistogramOp::Subtraction)
    };
    let Ok(reconciled) = done else {
        notes.add(Note::IncompatibleBucketLayout(op), span);
        return Combined::Nothing;
    };
    if reconciled.reset_collision {
        notes.add(Note::ResetCollision(word), span);
        return Combined::Nothing;
    }
    if reconciled.custom_bounds {
        notes.add(Note::MismatchedCustomBuckets(word), span);
    }
    if op == BinaryOp::Sub {
        h.reset_hint = CounterResetHint::Gauge;
    }
    h.compact();
    Combined::Histogram(Arc::new(h))
}

impl Evaluator<'_> {
    /// Evaluates an operator between two vectors.
    pub(super) fn binary(
        &self,
        b: &VectorBinary,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let left = self.vector(&b.lhs, grid, notes)?;
        if b.op.is_set() {
            let right = self.vector(&b.rhs, grid, notes)?;
            return self.set_operator(b, left, right, grid);
        }
        let right = self.vector(&b.rhs, grid, notes)?;
        let fill = b.matching.fill;
        let (no_left, no_right) = (left.series.is_empty(), right.series.is_empty());
        if (no_left && no_right) || ((no_left || no_right) && !fill.is_some()) {
            return Ok(Matrix::default());
        }
        let swapped = b.matching.card == VectorMatchCardinality::OneToMany;
        let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
        let signature = Signature::of(&b.matching);
        let found = matches(&signature, &many.series, &one.series);
        let mut join = Join {
            op: b.op,
            matching: &b.matching,
            signature,
            return_bool: b.return_bool,
            drop_name: changes_metric(b.op) || (b.return_bool && !self.options.delayed_name_removal),
            swapped,
            span: b.span,
            grid,
            many: &many.series,
            one: &one.series,
            occupied: None,
            results: Results::default(),
        };
        for m in found.iter().filter(|m| m.right.len() > 1) {
            join.refuse_two_ones(&m.right)?;
        }
        for (i, m) in found.iter().enumerate() {
            self.check_at(i)?;
            join.combine(m, notes)?;
        }
        let mut matrix = Matrix { series: join.results.finish(), charge: self.budget.hold(0)? };
        for s in &matrix.series {
            matrix.charge.grow(s.column.cells())?;
        }
        Ok(matrix)
    }

    /// Evaluates an operator between a vector and a scalar.
    pub(super) fn scalar_binary(
        &self,
        b: &VectorScalarBinary,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let scalar = self.scalar(&b.scalar, grid, notes)?;
        let mut matrix = self.vector(&b.vector, grid, notes)?;
        for (i, s) in matrix.series.iter_mut().enumerate() {
            self.check_at(i)?;
            if s.column.histograms.is_empty() && !b.op.is_trim() {
                with_scalar(b, &scalar, &mut s.column);
            } else {
                s.column = mixed_with_scalar(b, &scalar, &s.column, notes);
            }
            if changes_metric(b.op) || b.return_bool {
                self.drop_name(s);
            }
        }
        matrix.series.retain(|s| !s.column.is_empty());
        self.join_renamed(&mut matrix)?;
        Ok(matrix)
    }
}

/// The columns of floats alone.
fn with_scalar(b: &VectorScalarBinary, scalar: &ScalarColumn, column: &mut Column) {
    let first = column.first;
    let values = column.floats.iter_mut().enumerate().filter(|(_, v)| !is_absent(**v));
    for (i, v) in values {
        let s = scalar.at(first + i);
        let (left, right) = if b.scalar_left { (s, *v) } else { (*v, s) };
        *v = if b.op.is_comparison() {
            let holds = compare(b.op, left, right);
            match (b.return_bool, holds) {
                (true, _) => f64::from(u8::from(holds)),
                (false, true) => *v, // the vector's value, on whichever side it stands
                (false, false) => super::super::column::ABSENT,
            }
        } else {
            arithmetic(b.op, left, right)
        };
    }
}

fn mixed_with_scalar(
    b: &VectorScalarBinary,
    scalar: &ScalarColumn,
    column: &Column,
    notes: &mut Annotations,
) -> Column {
    let mut out = Column { first: column.first, ..Column::default() };
    out.floats.resize(column.floats.len(), super::super::column::ABSENT);
    for (k, point) in column.points() {
        let s = Point::Float(scalar.at(k));
        let (left, right) = if b.scalar_left { (s, point) } else { (point, s) };
        match (combine(b.op, left, right, b.span, notes), b.return_bool) {
            (Combined::Float(v), _) => out.set_float(k, v),
            (Combined::Histogram(h), _) => out.set_histogram(k, h),
            (Combined::Left, false) => out.set(k, point),
            (Combined::Left, true) => out.set_float(k, 1.0),
            (Combined::Dropped, true) => out.set_float(k, 0.0),
            (Combined::Dropped, false) | (Combined::Nothing, _) => {}
        }
    }
    out
}

/// An operator between two vectors under way.
struct Join<'a> {
    op: BinaryOp,
    matching: &'a VectorMatching,
    signature: Signature<'a>,
    return_bool: bool,
    drop_name: bool,
    /// The many side is the right one.
    swapped: bool,
    span: Span,
    grid: Grid,
    many: &'a [EvalSeries],
    one: &'a [EvalSeries],
    /// Whether both sides have samples, by step; computed when first asked for.
    occupied: Option<Vec<bool>>,
    results: Results,
}

impl Join<'_> {
    fn combine(&mut self, m: &Match, notes: &mut Annotations) -> Result<(), QueryError> {
        let (many, one) = (&m.left, &m.right);
        let fill = self.matching.fill;
        if many.len() > 1 && self.matching.card == VectorMatchCardinality::OneToOne {
            self.refuse_two_manys(many, one)?;
        }
        let mut inserted: HashMap<Labels, Vec<bool>> = HashMap::new();
        for i in many {
            for j in one {
                let labels = self.labels(&self.many[*i].labels, &self.one[*j].labels);
                let (a, b) = (&self.many[*i].column, &self.one[*j].column);
                let column = self.columns(a, b, notes);
                if many.len() > 1 && self.matching.card != VectorMatchCardinality::OneToOne {
                    let combined =
                        |k: usize| a.get(k).zip(b.get(k)).is_some_and(|(a, b)| self.combines(a, b));
                    refuse_same_result(&mut inserted, &labels, self.grid.steps, combined)?;
                }
                self.results.add(labels, column, self.return_bool)?;
            }
            if let Some(v) = fill.rhs {
                self.fill_one(*i, one, v, notes)?;
            }
        }
        if let Some(v) = fill.lhs {
            for j in one {
                self.fill_many(*j, many, v, notes)?;
            }
        }
        Ok(())
    }

    /// Whether the operator has a meaning for a sample of the many side and one of the one side.
    fn combines(&self, many: Point<'_>, one: Point<'_>) -> bool {
        let (left, right) = if self.swapped { (one, many) } else { (many, one) };
        has_meaning(self.op, left, right)
    }

    fn labels(&self, many: &Labels, one: &Labels) -> Labels {
        result_labels(many, one, self.matching, self.drop_name)
    }

    /// Combines two columns where both have a value.
    fn columns(&self, many: &Column, one: &Column, notes: &mut Annotations) -> Column {
        let (first, end) = (many.first.max(one.first), many.end().min(one.end()));
        let (a, b) = if self.swapped { (one, many) } else { (many, one) };
        let mut out = Column { first, ..Column::default() };
        if first >= end {
            return out;
        }
        out.floats.resize(end - first, super::super::column::ABSENT);
        if many.histograms.is_empty() && one.histograms.is_empty() && !self.op.is_trim() {
            let left = &a.floats[first - a.first..end - a.first];
            let right = &b.floats[first - b.first..end - b.first];
            self.floats(left, right, &mut out.floats);
            return out;
        }
        for k in first..end {
            if let (Some(x), Some(y)) = (a.get(k), b.get(k)) {
                self.point(k, x, y, &mut out, notes);
            }
        }
        out
    }

    fn floats(&self, left: &[f64], right: &[f64], out: &mut [f64]) {
        let op = self.op;
        let pairs = left.iter().zip(right).zip(out).filter(|((a, b), _)| !is_absent(**a) && !is_absent(**b));
        if op.is_comparison() {
            for ((a, b), out) in pairs {
                let holds = compare(op, *a, *b);
                if self.return_bool {
                    *out = f64::from(u8::from(holds));
                } else if holds {
                    *out = *a;
                }
            }
        } else {
            pairs.for_each(|((a, b), out)| *out = arithmetic(op, *a, *b));
        }
    }

    fn point(&self, k: usize, left: Point<'_>, right: Point<'_>, out: &mut Column, notes: &mut Annotations) {
        match (combine(self.op, left, right, self.span, notes), self.return_bool) {
            (Combined::Float(v), _) => out.set_float(k, v),
            (Combined::Histogram(h), _) => out.set_histogram(k, h),
            (Combined::Left, false) => out.set(k, left),
            (Combined::Left, true) => out.set_float(k, 1.0),
            (Combined::Dropped, true) => out.set_float(k, 0.0),
            (Combined::Dropped, false) | (Combined::Nothing, _) => {}
        }
    }

    /// Results of series `i` of the many side where its partners are missing.
    fn fill_one(
        &mut self,
        i: usize,
        one: &[usize],
        value: f64,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        let s = &self.many[i];
        let labels = self.labels(&s.labels, &self.signature.labels(&s.labels));
        let has_partner = |k: usize| one.iter().any(|j| self.one[*j].column.has(k));
        let column = self.filled(&s.column, value, !self.swapped, has_partner, notes);
        self.results.add(labels, column, self.return_bool)
    }

    /// Results of series `j` of the one side where all its partners are missing. A partner with which the
    /// operator has no meaning counts as missing.
    fn fill_many(
        &mut self,
        j: usize,
        many: &[usize],
        value: f64,
        notes: &mut Annotations,
    ) -> Result<(), QueryError> {
        let s = &self.one[j];
        let labels = self.labels(&self.signature.labels(&s.labels), &s.labels);
        let has_partner = |k: usize| {
            s.column.get(k).is_some_and(|one| {
                let mut partners = many.iter().filter_map(|i| self.many[*i].column.get(k));
                partners.any(|p| self.combines(p, one))
            })
        };
        let column = self.filled(&s.column, value, self.swapped, has_partner, notes);
        self.results.add(labels, column, self.return_bool)
    }

    /// Combines `column`, which is the left side if `is_left`, with `value` where it has no partner.
    fn filled(
        &self,
        column: &Column,
        value: f64,
        is_left: bool,
        has_partner: impl Fn(usize) -> bool,
        notes: &mut Annotations,
    ) -> Column {
        let mut out = Column { first: column.first, ..Column::default() };
        out.floats.resize(column.floats.len(), super::super::column::ABSENT);
        for (k, point) in column.points().filter(|(k, _)| !has_partner(*k)) {
            let filler = Point::Float(value);
            let (left, right) = if is_left { (point, filler) } else { (filler, point) };
            self.point(k, left, right, &mut out, notes);
        }
        out
    }

    /// Refuses two series of the one side at a step at which there is anything to combine.
    fn refuse_two_ones(&mut self, one: &[usize]) -> Result<(), QueryError> {
        for k in 0..self.grid.steps {
            let mut present = one.iter().filter(|j| self.one[**j].column.has(k));
            let (Some(a), Some(b)) = (present.next(), present.next()) else { continue };
            if !self.matching.fill.is_some() && !self.is_occupied(k) {
                continue;
            }
            let group = self.signature.labels(&self.one[*a].labels);
            let side = if self.swapped { "left" } else { "right" };
            let mut names = [a, b].map(|j| self.one[*j].labels.to_string());
            names.sort();
            return Err(QueryError::Execution(format!(
                "found duplicate series for the match group {group} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                names[0], names[1]
            )));
        }
        Ok(())
    }

    /// Whether both sides have a sample at step `k`.
    fn is_occupied(&mut self, k: usize) -> bool {
        let steps = self.grid.steps;
        let any = |side: &[EvalSeries], k: usize| side.iter().any(|s| s.column.has(k));
        let (many, one) = (self.many, self.one);
        let occupied =
            self.occupied.get_or_insert_with(|| (0..steps).map(|k| any(many, k) && any(one, k)).collect());
        occupied[k]
    }

    /// Refuses two series of the other side at a step at which they have a partner.
    fn refuse_two_manys(&self, many: &[usize], one: &[usize]) -> Result<(), QueryError> {
        for k in 0..self.grid.steps {
            let found = one.iter().find_map(|j| self.one[*j].column.get(k));
            let Some(partner) = found.or(self.matching.fill.rhs.map(Point::Float)) else { continue };
            let present = many.iter().filter_map(|i| self.many[*i].column.get(k));
            if present.filter(|p| self.combines(*p, partner)).count() > 1 {
                return Err(QueryError::Execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .to_owned(),
                ));
            }
        }
        Ok(())
    }
}

/// Refuses two results of one match with the same labels at the same step.
fn refuse_same_result(
    inserted: &mut HashMap<Labels, Vec<bool>>,
    labels: &Labels,
    steps: usize,
    combined: impl Fn(usize) -> bool,
) -> Result<(), QueryError> {
    let taken = inserted.entry(labels.clone()).or_insert_with(|| vec![false; steps]);
    for (k, taken) in taken.iter_mut().enumerate() {
        if combined(k) {
            if *taken {
                return Err(QueryError::Execution(
                    "multiple matches for labels: grouping labels must ensure unique matches".to_owned(),
                ));
            }
            *taken = true;
        }
    }
    Ok(())
}

/// The results so far; series of the same labels are one.
#[derive(Default)]
struct Results {
    at: HashMap<Labels, usize>,
    series: Vec<EvalSeries>,
}

impl Results {
    fn add(&mut self, labels: Labels, column: Column, drop_name: bool) -> Result<(), QueryError> {
        if column.is_empty() {
            return Ok(());
        }
        match self.at.get(&labels) {
            Some(i) => {
                if !self.series[*i].column.merge(&column) {
                    return Err(QueryError::Execution(SAME_LABELSET.to_owned()));
                }
            }
            None => {
                self.at.insert(labels.clone(), self.series.len());
                self.series.push(EvalSeries { labels, drop_name, column });
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<EvalSeries> {
        self.series
    }
}
