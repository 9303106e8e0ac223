//! Aggregations over series.
//!
//! The group of every series is computed once from its labels. Series are then read group by group, so that one
//! group's accumulator is at work at a time, and a column is forgotten as soon as it is added. `topk` and its kin
//! give series back and are in [`super::ranking`].

use cairn_model::labels::{METRIC_NAME, write_label};
use cairn_model::{Labels, LabelsBuilder};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::super::column::{EvalSeries, Matrix, Point, SAME_LABELSET, is_metadata_label, without_metadata};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{Aggregation, VectorNode};
use super::accumulator::{Accumulator, Place};
use super::source::{MatrixSource, SeriesSource};
use super::{Evaluator, ScalarColumn};
use crate::annotations::{Annotations, Note};
use crate::functions::scalar_fn;
use crate::parser::ast::AggregateOp;

/// Which series belong together.
pub struct Groups {
    /// Group of each series.
    pub of_series: Vec<u32>,
    /// How many groups.
    pub count: usize,
    /// First series of each group.
    pub first_series: Vec<u32>,
}

/// How the labels of a group come from those of a series.
pub struct Grouping<'a> {
    /// Sorted labels.
    pub labels: &'a [String],
    /// Whether they are left out (else kept).
    pub without: bool,
    /// Whether names that are to go are gone already.
    pub names_gone: bool,
}

impl Grouping<'_> {
    fn keeps(&self, name: &str, drops_name: bool) -> bool {
        let listed = self.labels.binary_search_by(|l| l.as_str().cmp(name)).is_ok();
        let gone = self.names_gone && drops_name && is_metadata_label(name);
        !gone && if self.without { !listed && name != METRIC_NAME } else { listed }
    }

    /// The labels of a series' group, in canonical form, appended to `out`.
    fn write(&self, labels: &Labels, drops_name: bool, out: &mut Vec<u8>) {
        for (name, value) in labels.iter() {
            if self.keeps(name, drops_name) {
                write_label(out, name, value);
            }
        }
    }

    /// The labels of a series' group.
    pub fn labels_of(&self, labels: &Labels, drops_name: bool) -> Labels {
        labels.filtered(|name| self.keeps(name, drops_name))
    }

    /// Assigns every series of `source` to its group; groups are numbered by their first series.
    pub fn assign(&self, source: &dyn SeriesSource) -> Groups {
        let n = source.len();
        if !self.without && self.labels.is_empty() {
            return Groups { of_series: vec![0; n], count: n.min(1), first_series: vec![0; n.min(1)] };
        }
        let mut ids: HashMap<Box<[u8]>, u32> = HashMap::new();
        let mut groups = Groups { of_series: Vec::with_capacity(n), count: 0, first_series: Vec::new() };
        let mut key = Vec::new();
        for i in 0..n {
            key.clear();
            self.write(source.labels(i), source.drops_name(i), &mut key);
            let id = match ids.get(key.as_slice()) {
                Some(id) => *id,
                None => {
                    let id = ids.len() as u32;
                    ids.insert(key.as_slice().into(), id);
                    groups.first_series.push(i as u32);
                    id
                }
            };
            groups.of_series.push(id);
        }
        groups.count = ids.len();
        groups
    }
}

impl Groups {
    /// Series by group, and in their order within a group.
    fn order(&self) -> Vec<u32> {
        let mut starts = vec![0u32; self.count + 1];
        for g in &self.of_series {
            starts[*g as usize + 1] += 1;
        }
        for g in 0..self.count {
            starts[g + 1] += starts[g];
        }
        let mut order = vec![0u32; self.of_series.len()];
        for (i, g) in self.of_series.iter().enumerate() {
            let at = &mut starts[*g as usize];
            order[*at as usize] = i as u32;
            *at += 1;
        }
        order
    }
}

impl Evaluator<'_> {
    /// Evaluates an aggregation.
    pub(super) fn aggregate(
        &self,
        a: &Aggregation,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        if a.op == AggregateOp::CountValues {
            return self.count_values(a, grid, notes);
        }
        let param = match &a.param {
            Some(p) => self.scalar(p, grid, notes)?,
            None => ScalarColumn::Constant(f64::NAN),
        };
        use AggregateOp::*;
        if matches!(a.op, Topk | Bottomk | Limitk | LimitRatio) {
            return self.rank(a, &param, grid, notes);
        }
        let source = self.source(&a.arg, grid, notes)?;
        if a.op == Quantile {
            let range = ParamRange::of(&param);
            if range.has_nan {
                self.note_quantile(f64::NAN, a.param_span, notes);
            }
            if range.max > 1.0 {
                self.note_quantile(range.max, a.param_span, notes);
            }
            if range.min < 0.0 {
                self.note_quantile(range.min, a.param_span, notes);
            }
        }
        self.reduce(a, &*source, &param, grid, notes)
    }

    /// What an aggregation reads: a leaf column by column, anything else as a matrix.
    pub(super) fn source<'b>(
        &'b self,
        node: &'b VectorNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Box<dyn SeriesSource + 'b>, QueryError> {
        match node {
            VectorNode::Select(_) | VectorNode::SampleTime { .. } | VectorNode::RangeCall(_) => {
                self.leaf(node, grid, notes)
            }
            VectorNode::Shared(s) => self.shared_source(s, grid, notes),
            _ => Ok(Box::new(MatrixSource(self.vector(node, grid, notes)?))),
        }
    }

    fn grouping<'b>(&self, a: &'b Aggregation) -> Grouping<'b> {
        Grouping { labels: &a.grouping, without: a.without, names_gone: !self.options.delayed_name_removal }
    }

    fn reduce(
        &self,
        a: &Aggregation,
        source: &dyn SeriesSource,
        param: &ScalarColumn,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        if grid.steps == 0 || source.len() == 0 {
            return Ok(Matrix::default());
        }
        let grouping = self.grouping(a);
        let groups = grouping.assign(source);
        let order = groups.order();
        let names_gone = grouping.names_gone;
        let must_differ = names_gone && source.names_may_collide();
        let parts = self.in_stretches(order.len(), source.work(), notes, |range, scratch, notes| {
            let mut part = Part { groups: Vec::new(), present: Vec::new(), charge: self.budget.hold(0)? };
            for (n, i) in order[range].iter().map(|i| *i as usize).enumerate() {
                self.check_at(n)?;
                let Some(column) = source.read(i, scratch, notes)? else { continue };
                let group = groups.of_series[i];
                if part.groups.last().is_none_or(|(g, _)| *g != group) {
                    let new = Accumulator::new(a.op, grid.steps);
                    part.charge.grow(new.cells())?;
                    part.groups.push((group, new));
                }
                if a.op == AggregateOp::Quantile {
                    part.charge.grow(column.cells())?;
                }
                if must_differ {
                    part.present.push(i as u32);
                }
                let (_, acc) = part.groups.last_mut().expect("pushed above");
                acc.drop_name |= source.drops_name(i);
                let series = (!names_gone || !source.drops_name(i)).then(|| source.labels(i));
                acc.add(column, Place { span: a.arg_span, series }, notes);
            }
            Ok(part)
        })?;
        if must_differ {
            refuse_collisions(source, parts.iter().flat_map(|p| &p.present))?;
        }
        let mut merged: Vec<(u32, Accumulator)> = Vec::with_capacity(groups.count);
        let mut charges = Vec::new();
        for part in parts {
            charges.push(part.charge);
            for (group, acc) in part.groups {
                match merged.last_mut() {
                    Some((g, whole)) if *g == group => {
                        whole.merge(acc, Place { span: a.arg_span, series: None }, notes);
                    }
                    _ => merged.push((group, acc)),
                }
            }
        }
        let mut matrix = Matrix { series: Vec::with_capacity(merged.len()), charge: self.budget.hold(0)? };
        for (group, acc) in merged {
            let drop_name = acc.drop_name;
            let Some(column) = acc.finish(param, a.arg_span, notes).trimmed() else { continue };
            matrix.charge.grow(column.cells())?;
            let first = groups.first_series[group as usize] as usize;
            let labels = grouping.labels_of(source.labels(first), source.drops_name(first));
            let drop_name = drop_name && self.options.delayed_name_removal;
            matrix.series.push(EvalSeries { labels, drop_name, column });
        }
        Ok(matrix)
    }

    /// `count_values`: one series a group and value.
    fn count_values(
        &self,
        a: &Aggregation,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let input = self.vector(&a.arg, grid, notes)?;
        let grouping = self.grouping(a);
        let mut at: HashMap<Labels, usize> = HashMap::new();
        let mut matrix = Matrix { series: Vec::new(), charge: self.budget.hold(0)? };
        let mut known: HashMap<String, usize> = HashMap::new();
        for (i, s) in input.series.iter().enumerate() {
            self.check_at(i)?;
            known.clear();
            for (k, point) in s.column.points() {
                let value = match point {
                    Point::Float(v) => cairn_model::number::format_f(v),
                    Point::Histogram(h) => h.to_string(),
                };
                let series = match known.entry(value) {
                    Entry::Occupied(e) => *e.get(),
                    Entry::Vacant(e) => {
                        let mut b = LabelsBuilder::from_labels(s.labels.as_ref());
                        b.set(&a.value_label, e.key());
                        let labels = grouping.labels_of(&b.build(), s.drop_name);
                        let next = at.len();
                        let index = *at.entry(labels.clone()).or_insert(next);
                        if index == next {
                            let mut column = super::super::column::Column::default();
                            column.reset(grid.steps);
                            matrix.charge.grow(grid.steps)?;
                            matrix.series.push(EvalSeries { labels, drop_name: false, column });
                        }
                        *e.insert(index)
                    }
                };
                let counts = &mut matrix.series[series].column;
                let before = match counts.get(k) {
                    Some(Point::Float(n)) => n,
                    _ => 0.0,
                };
                counts.set_float(k, before + 1.0);
            }
        }
        Ok(matrix)
    }
}

struct Part {
    groups: Vec<(u32, Accumulator)>,
    /// Series that had a value, when they must be told apart.
    present: Vec<u32>,
    charge: super::super::budget::Charge,
}

/// Where names are gone, two of the series may be the same.
fn refuse_collisions<'a>(
    source: &dyn SeriesSource,
    present: impl Iterator<Item = &'a u32>,
) -> Result<(), QueryError> {
    let mut seen = hashbrown::HashSet::new();
    for i in present {
        let i = *i as usize;
        let labels = source.labels(i);
        let labels = if source.drops_name(i) { without_metadata(labels) } else { labels.clone() };
        if !seen.insert(labels) {
            return Err(QueryError::Execution(SAME_LABELSET.to_owned()));
        }
    }
    Ok(())
}

/// The extremes that a parameter takes over the steps.
pub struct ParamRange {
    /// The least; NaN when any is.
    pub min: f64,
    /// The greatest; NaN when any is.
    pub max: f64,
    /// Whether any is NaN.
    pub has_nan: bool,
}

impl ParamRange {
    /// Of all values of `param`.
    pub fn of(param: &ScalarColumn) -> Self {
        let values = param.values();
        ParamRange {
            min: values.iter().copied().fold(f64::MAX, scalar_fn::min),
            max: values.iter().copied().fold(f64::MIN, scalar_fn::max),
            has_nan: values.iter().any(|v| v.is_nan()),
        }
    }
}

/// Adds the note that a ratio was cut to what makes sense.
pub fn note_ratio(got: f64, capped: f64, a: &Aggregation, notes: &mut Annotations) {
    let note = Note::InvalidRatio { got_bits: got.to_bits(), capped_bits: capped.to_bits() };
    notes.add(note, a.param_span);
}
