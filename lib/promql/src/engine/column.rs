//! Values of series on a grid: what evaluation passes from node to node.
//!
//! A column is a stretch of steps with one value each. A step without a value holds [`ABSENT`], a signalling NaN
//! that no computation yields: arithmetic quiets it, and samples with its bits are stale markers, which never get
//! this far. So presence costs no second array, and a column of floats is a plain slice.
//!
//! Invariant: `histograms` is empty or as long as `floats`; a step with a histogram has no float. A [`Matrix`]
//! has no series without any value.

use std::sync::Arc;

use cairn_model::labels::METRIC_NAME;
use cairn_model::{FloatHistogram, Labels, STALE_NAN_BITS};

use super::budget::Charge;
use super::error::QueryError;
use hashbrown::HashMap;

/// The float of a step that has none.
pub const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether `v` is [`ABSENT`].
#[inline]
pub fn is_absent(v: f64) -> bool {
    v.to_bits() == STALE_NAN_BITS
}

/// A histogram as it is shared between steps and nodes.
pub type Histogram = Arc<FloatHistogram>;

/// One series' values on steps `first .. first + floats.len()`.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// The first step.
    pub first: usize,
    /// Floats, [`ABSENT`] where there is none.
    pub floats: Vec<f64>,
    /// Histograms; empty when there is none at all.
    pub histograms: Vec<Option<Histogram>>,
}

/// The value of a step.
#[derive(Debug, Clone, Copy)]
pub enum Point<'a> {
    /// A float.
    Float(f64),
    /// A histogram.
    Histogram(&'a Histogram),
}

impl Column {
    /// The same float at all `steps`.
    pub fn constant(v: f64, steps: usize) -> Self {
        Column { first: 0, floats: vec![v; steps], histograms: Vec::new() }
    }

    /// Empties the column and makes room for `steps` values from step 0.
    pub fn reset(&mut self, steps: usize) {
        self.first = 0;
        self.floats.clear();
        self.floats.resize(steps, ABSENT);
        self.histograms.clear();
    }

    /// One past the last step.
    #[inline]
    pub fn end(&self) -> usize {
        self.first + self.floats.len()
    }

    /// The value at step `k`.
    #[inline]
    pub fn get(&self, k: usize) -> Option<Point<'_>> {
        let v = *self.floats.get(k.wrapping_sub(self.first))?;
        if !is_absent(v) {
            return Some(Point::Float(v));
        }
        match self.histograms.get(k - self.first) {
            Some(Some(h)) => Some(Point::Histogram(h)),
            _ => None,
        }
    }

    /// Whether step `k` has a value.
    #[inline]
    pub fn has(&self, k: usize) -> bool {
        self.get(k).is_some()
    }

    /// Sets the float of step `k`, which must be inside.
    #[inline]
    pub fn set_float(&mut self, k: usize, v: f64) {
        self.floats[k - self.first] = v;
    }

    /// Sets the histogram of step `k`, which must be inside.
    pub fn set_histogram(&mut self, k: usize, h: Histogram) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.histograms[k - self.first] = Some(h);
    }

    /// Sets the value of step `k`, which must be inside.
    pub fn set(&mut self, k: usize, point: Point<'_>) {
        match point {
            Point::Float(v) => self.set_float(k, v),
            Point::Histogram(h) => self.set_histogram(k, h.clone()),
        }
    }

    /// The steps that have a value, with it.
    pub fn points(&self) -> impl Iterator<Item = (usize, Point<'_>)> {
        (self.first..self.end()).filter_map(|k| self.get(k).map(|p| (k, p)))
    }

    /// Whether no step has a value.
    pub fn is_empty(&self) -> bool {
        self.floats.iter().all(|v| is_absent(*v)) && self.histograms.iter().all(Option::is_none)
    }

    /// Whether any step has a float.
    pub fn has_float(&self) -> bool {
        self.floats.iter().any(|v| !is_absent(*v))
    }

    /// Removes all histograms.
    pub fn drop_histograms(&mut self) {
        self.histograms.clear();
    }

    /// A copy from the first to the last step that has a value; `None` when none has.
    pub fn trimmed(&self) -> Option<Column> {
        let here =
            |i: usize| !is_absent(self.floats[i]) || self.histograms.get(i).is_some_and(Option::is_some);
        let from = (0..self.floats.len()).find(|i| here(*i))?;
        let to = (from..self.floats.len()).rev().find(|i| here(*i)).map_or(from, |i| i) + 1;
        let histograms = if self.histograms.is_empty() { &[][..] } else { &self.histograms[from..to] };
        Some(Column {
            first: self.first + from,
            floats: self.floats[from..to].to_vec(),
            histograms: histograms.to_vec(),
        })
    }

    /// Takes over the values of `other`. Answers `false` when both have one at the same step; the column is then
    /// in no defined state.
    #[must_use]
    pub fn merge(&mut self, other: &Column) -> bool {
        let (first, end) = (self.first.min(other.first), self.end().max(other.end()));
        if first != self.first || end != self.end() {
            let mut wide = Column { first, floats: vec![ABSENT; end - first], histograms: Vec::new() };
            for (k, p) in self.points() {
                wide.set(k, p);
            }
            *self = wide;
        }
        for (k, p) in other.points() {
            if self.has(k) {
                return false;
            }
            self.set(k, p);
        }
        true
    }

    /// What the column occupies, in floats.
    pub fn cells(&self) -> usize {
        let buckets = |h: &Histogram| 16 + h.positive_buckets.len() + h.negative_buckets.len();
        self.floats.len() + self.histograms.iter().flatten().map(buckets).sum::<usize>()
    }
}

/// A series under evaluation.
#[derive(Debug, Clone)]
pub struct EvalSeries {
    /// Its labels; with the metric name even where it is to go, as long as `drop_name` says so.
    pub labels: Labels,
    /// The metric's name, type and unit go at the end of the evaluation.
    pub drop_name: bool,
    /// Its values.
    pub column: Column,
}

/// The series of a node. Their order matters for instant queries only.
#[derive(Debug, Default)]
pub struct Matrix {
    /// The series.
    pub series: Vec<EvalSeries>,
    /// Accounts for their memory while they live.
    pub charge: Charge,
}

/// Text of the error that two results with the same labels are.
pub const SAME_LABELSET: &str = "vector cannot contain metrics with the same labelset";

impl Matrix {
    /// What the columns occupy, in floats.
    pub fn cells(&self) -> usize {
        self.series.iter().map(|s| s.column.cells()).sum()
    }

    /// Joins series of equal labels into one.
    ///
    /// # Errors
    /// Two of them have a value at the same step.
    pub fn merge_same_labels(&mut self) -> Result<(), QueryError> {
        if self.series.len() < 2 || !self.has_same_labels() {
            return Ok(());
        }
        let mut at: HashMap<Labels, usize> = HashMap::with_capacity(self.series.len());
        let mut merged: Vec<EvalSeries> = Vec::with_capacity(self.series.len());
        for s in self.series.drain(..) {
            match at.get(&s.labels) {
                Some(i) => {
                    if !merged[*i].column.merge(&s.column) {
                        return Err(QueryError::Execution(SAME_LABELSET.to_owned()));
                    }
                }
                None => {
                    at.insert(s.labels.clone(), merged.len());
                    merged.push(s);
                }
            }
        }
        self.series = merged;
        Ok(())
    }

    /// Refuses series of equal labels.
    ///
    /// # Errors
    /// There are two.
    pub fn refuse_same_labels(&self) -> Result<(), QueryError> {
        if self.has_same_labels() {
            return Err(QueryError::Execution(SAME_LABELSET.to_owned()));
        }
        Ok(())
    }

    fn has_same_labels(&self) -> bool {
        let mut seen = hashbrown::HashSet::with_capacity(self.series.len());
        !self.series.iter().all(|s| seen.insert(s.labels.as_bytes()))
    }
}

/// Labels that describe the metric and not the series; they go when a computation makes something else of it.
pub fn is_metadata_label(name: &str) -> bool {
    name.starts_with("__") && matches!(name, METRIC_NAME | "__type__" | "__unit__")
}

/// `labels` without the metric's name, type and unit.
pub fn without_metadata(labels: &Labels) -> Labels {
    if labels.iter().take_while(|(n, _)| *n <= "__unit__").any(|(n, _)| is_metadata_label(n)) {
        labels.filtered(|n| !is_metadata_label(n))
    } else {
        labels.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_with_absence_never_yields_absence() {
        for v in [ABSENT + 0.0, ABSENT * 1.0, ABSENT - ABSENT, ABSENT.sqrt(), ABSENT.floor(), f64::NAN] {
            assert!(!is_absent(v) && v.is_nan());
        }
    }

    #[test]
    fn columns_merge_where_they_do_not_overlap() {
        let mut a = Column { first: 2, floats: vec![1.0, ABSENT], histograms: Vec::new() };
        let b = Column { first: 0, floats: vec![5.0, ABSENT, ABSENT, 6.0], histograms: Vec::new() };
        assert!(a.merge(&b));
        let got: Vec<_> = (0..5).map(|k| a.get(k).map(|p| matches!(p, Point::Float(_)))).collect();
        assert_eq!(got, [Some(true), None, Some(true), Some(true), None]);
        assert!(!a.merge(&b));
    }

    #[test]
    fn trimming_keeps_the_steps() {
        let c = Column { first: 3, floats: vec![ABSENT, 1.0, ABSENT, 2.0, ABSENT], histograms: Vec::new() };
        let t = c.trimmed().unwrap();
        assert_eq!((t.first, t.floats.len()), (4, 3));
        assert!(Column { first: 0, floats: vec![ABSENT], histograms: Vec::new() }.trimmed().is_none());
    }
}
