//! `and`, `or` and `unless`.

use super::super::column::{ABSENT, Column, EvalSeries, Matrix};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::VectorBinary;
use super::Evaluator;
use super::matching::{Signature, matches};
use crate::parser::ast::BinaryOp;

impl Evaluator<'_> {
    /// Evaluates a set operator.
    pub(super) fn set_operator(
        &self,
        b: &VectorBinary,
        left: Matrix,
        right: Matrix,
        grid: Grid,
    ) -> Result<Matrix, QueryError> {
        let signature = Signature::of(&b.matching);
        let found = matches(&signature, &left.series, &right.series);
        let mut kept_left = left.series;
        let mut kept_right = right.series;
        for (i, m) in found.iter().enumerate() {
            self.check_at(i)?;
            match b.op {
                BinaryOp::And | BinaryOp::Unless => {
                    let wanted = b.op == BinaryOp::And;
                    let present = present_at(&kept_right, &m.right, grid.steps);
                    for i in &m.left {
                        keep_where(&mut kept_left[*i].column, |k| present[k] == wanted);
                    }
                }
                _ => {
                    let present = present_at(&kept_left, &m.left, grid.steps);
                    for i in &m.right {
                        keep_where(&mut kept_right[*i].column, |k| !present[k]);
                    }
                }
            }
        }
        if b.op == BinaryOp::Or {
            kept_left.append(&mut kept_right);
        }
        kept_left.retain(|s| !s.column.is_empty());
        let mut charge = left.charge;
        charge.absorb(right.charge);
        let mut matrix = Matrix { series: kept_left, charge };
        if b.op == BinaryOp::Or {
            matrix.merge_same_labels()?; // one series that is left at some steps and right at others
        }
        Ok(matrix)
    }
}

/// At which steps any of the listed series has a value.
fn present_at(series: &[EvalSeries], listed: &[usize], steps: usize) -> Vec<bool> {
    let mut present = vec![false; steps];
    for i in listed {
        series[*i].column.points().for_each(|(k, _)| present[k] = true);
    }
    present
}

fn keep_where(column: &mut Column, keep: impl Fn(usize) -> bool) {
    let first = column.first;
    for (i, v) in column.floats.iter_mut().enumerate() {
        if !keep(first + i) {
            *v = ABSENT;
        }
    }
    for (i, h) in column.histograms.iter_mut().enumerate() {
        if !keep(first + i) {
            *h = None;
        }
    }
}
