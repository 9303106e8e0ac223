//! `topk`, `bottomk`, `limitk` and `limit_ratio`: aggregations that give some of their series back.

use std::cmp::Ordering;

use xxhash_rust::xxh64::xxh64;

use cairn_model::Labels;

use super::super::column::{Column, EvalSeries, Matrix, Point};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::Aggregation;
use super::aggregate::{Grouping, ParamRange, note_ratio};
use super::source::MatrixSource;
use super::{Evaluator, ScalarColumn};
use crate::annotations::{Annotations, Note};
use crate::parser::ast::AggregateOp;

/// Greatest and least whole numbers that a parameter may stand for.
const INT_MAX: f64 = i64::MAX as f64;
const INT_MIN: f64 = i64::MIN as f64;

impl Evaluator<'_> {
    /// Evaluates one of the four.
    pub(super) fn rank(
        &self,
        a: &Aggregation,
        param: &ScalarColumn,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let source = self.source(&a.arg, grid, notes)?;
        let input = self.collect(&*source, grid, notes)?;
        if !self.options.delayed_name_removal && source.names_may_collide() {
            input.refuse_same_labels()?;
        }
        drop(source);
        if !check_param(a, param, notes)? || input.series.is_empty() {
            return Ok(Matrix::default());
        }
        let input = MatrixSource(input);
        let grouping = Grouping {
            labels: &a.grouping,
            without: a.without,
            names_gone: false, // names that are to go at once are gone
        };
        let groups = grouping.assign(&input);
        let Matrix { series, charge } = input.0;
        let mut chosen: Vec<Column> = Vec::new();
        chosen.resize_with(series.len(), Column::default);
        let mut members: Vec<Vec<Member>> = vec![Vec::new(); groups.count];
        let ratios: Vec<f64> = if a.op == AggregateOp::LimitRatio {
            series.iter().map(|s| sampling_offset(&s.labels)).collect()
        } else {
            Vec::new()
        };
        let mut instant_order = Vec::new();
        for k in 0..grid.steps {
            self.check_at(k)?;
            members.iter_mut().for_each(Vec::clear);
            for (i, s) in series.iter().enumerate() {
                let value = match s.column.get(k) {
                    None => continue,
                    Some(Point::Float(v)) => v,
                    Some(Point::Histogram(_)) => {
                        if matches!(a.op, AggregateOp::Topk | AggregateOp::Bottomk) {
                            notes.add(Note::HistogramIgnoredInAggregation(a.op.as_str()), a.span);
                            continue;
                        }
                        0.0
                    }
                };
                members[groups.of_series[i] as usize].push(Member { value, series: i });
            }
            for group in &mut members {
                choose(a.op, param.at(k), group, &ratios);
                for m in group.iter() {
                    let column = &mut chosen[m.series];
                    if column.floats.is_empty() {
                        column.reset(grid.steps);
                    }
                    let point = series[m.series].column.get(k).expect("members have a value");
                    column.set(k, point);
                }
                if grid.steps == 1 {
                    instant_order.extend(group.iter().map(|m| m.series));
                }
            }
        }
        let order = if grid.steps == 1 { instant_order } else { (0..series.len()).collect() };
        let mut out = Matrix { series: Vec::new(), charge };
        for i in order {
            if let Some(column) = chosen[i].trimmed() {
                out.series.push(EvalSeries {
                    labels: series[i].labels.clone(),
                    drop_name: series[i].drop_name,
                    column,
                });
            }
        }
        Ok(out)
    }
}

#[derive(Clone, Copy)]
struct Member {
    value: f64,
    series: usize,
}

/// Leaves in `group` what is chosen, in the order in which an instant query shows it.
fn choose(op: AggregateOp, param: f64, group: &mut Vec<Member>, ratios: &[f64]) {
    let k = (param as i64).clamp(0, i64::MAX) as usize;
    match op {
        AggregateOp::Topk => first_by(group, k, |a, b| b.total_cmp(&a)),
        AggregateOp::Bottomk => first_by(group, k, |a, b| a.total_cmp(&b)),
        AggregateOp::Limitk => group.truncate(k),
        _ => {
            let ratio = param.clamp(-1.0, 1.0);
            group.retain(|m| {
                let offset = ratios[m.series];
                if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
            });
        }
    }
}

/// The first `k` by `order`, NaN after everything, the earlier series first where values are equal.
fn first_by(group: &mut Vec<Member>, k: usize, order: impl Fn(f64, f64) -> Ordering) {
    let by = |a: &Member, b: &Member| {
        let nan_last = a.value.is_nan().cmp(&b.value.is_nan());
        let values = if a.value == b.value { Ordering::Equal } else { order(a.value, b.value) };
        nan_last.then(values).then(a.series.cmp(&b.series))
    };
    if k == 0 {
        group.clear();
        return;
    }
    if k < group.len() {
        group.select_nth_unstable_by(k - 1, by);
        group.truncate(k);
    }
    group.sort_unstable_by(by);
}

/// Where a series lies in [0, 1), by its labels alone: the hash that Prometheus uses, so that both choose the same
/// series.
fn sampling_offset(labels: &Labels) -> f64 {
    xxh64(labels.as_bytes(), 0) as f64 / u64::MAX as f64
}

/// Checks the parameter; `false` when nothing can be chosen.
fn check_param(a: &Aggregation, param: &ScalarColumn, notes: &mut Annotations) -> Result<bool, QueryError> {
    let range = ParamRange::of(param);
    let refuse = |text: String| Err(QueryError::Execution(text));
    let show = cairn_model::number::format_g;
    if a.op == AggregateOp::LimitRatio {
        if range.max == 0.0 && range.min == 0.0 {
            return Ok(false);
        }
        if range.has_nan {
            return refuse("Ratio value is NaN".to_owned());
        }
        if range.max > 1.0 {
            note_ratio(range.max, 1.0, a, notes);
        }
        if range.min < -1.0 {
            note_ratio(range.min, -1.0, a, notes);
        }
        return Ok(true);
    }
    if range.max < 1.0 {
        return Ok(false);
    }
    if range.has_nan {
        return refuse("Parameter value is NaN".to_owned());
    }
    if range.min <= INT_MIN {
        return refuse(format!("Scalar value {} underflows int64", show(range.min)));
    }
    if range.max >= INT_MAX {
        return refuse(format!("Scalar value {} overflows int64", show(range.max)));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(op: AggregateOp, k: f64, values: &[f64]) -> Vec<usize> {
        let mut group: Vec<_> =
            values.iter().enumerate().map(|(series, value)| Member { value: *value, series }).collect();
        choose(op, k, &mut group, &[]);
        group.iter().map(|m| m.series).collect()
    }

    #[test]
    fn nan_is_chosen_last_and_equals_in_order() {
        let values = [1.0, f64::NAN, 3.0, 2.0, 3.0];
        assert_eq!(pick(AggregateOp::Topk, 3.0, &values), [2, 4, 3]);
        assert_eq!(pick(AggregateOp::Topk, 9.0, &values), [2, 4, 3, 0, 1]);
        assert_eq!(pick(AggregateOp::Bottomk, 2.0, &values), [0, 3]);
        assert_eq!(pick(AggregateOp::Bottomk, 9.9, &values), [0, 3, 2, 4, 1]);
        assert_eq!(pick(AggregateOp::Limitk, 2.0, &values), [0, 1]);
        assert_eq!(pick(AggregateOp::Topk, -1.0, &values), Vec::<usize>::new());
    }
}
