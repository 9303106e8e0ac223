//! From evaluated columns to the answer.

use cairn_model::Labels;

use super::column::{Column, EvalSeries, Point};
use super::counts::{SampleCount, weight};
use super::error::QueryError;
use super::eval::Evaluator;
use super::eval::range_call::RangeInput;
use super::grid::Grid;
use super::plan::{Edges, RangeNode, Root};
use super::samples::SampleBuf;
use crate::annotations::Annotations;
use crate::functions::extended::with_edges;
use crate::value::{FloatPoint, HistogramPoint, MatrixSeries, QueryValue, SampleValue, VectorSample};

impl Evaluator<'_> {
    /// Evaluates the plan.
    ///
    /// # Errors
    /// What evaluation met, or a used-up budget.
    pub fn query_value(&self) -> Result<(QueryValue, Annotations), QueryError> {
        let grid = self.plan.grid;
        let mut notes = Annotations::default();
        let instant = self.plan.instant;
        let value = match &self.plan.root {
            Root::String(text) => QueryValue::String(grid.start_ms, text.clone()),
            Root::Scalar(node) => {
                let s = self.scalar(node, grid, &mut notes)?;
                let point = |k| FloatPoint { t_ms: grid.time(k), value: s.at(k) };
                if instant {
                    QueryValue::Scalar(point(0))
                } else {
                    let floats: Vec<_> = (0..grid.steps).map(point).collect();
                    QueryValue::Matrix(if floats.is_empty() {
                        Vec::new()
                    } else {
                        vec![MatrixSeries { labels: Labels::empty(), floats, histograms: Vec::new() }]
                    })
                }
            }
            Root::Vector(node) => {
                let mut matrix = self.vector(node, grid, &mut notes)?;
                self.finish(&mut matrix)?;
                if instant {
                    let t_ms = grid.start_ms;
                    QueryValue::Vector(
                        matrix.series.into_iter().filter_map(|s| vector_sample(s, t_ms)).collect(),
                    )
                } else {
                    let mut series: Vec<_> =
                        matrix.series.into_iter().map(|s| matrix_series(s.labels, &s.column, grid)).collect();
                    series.sort_by(|a, b| a.labels.cmp(&b.labels));
                    QueryValue::Matrix(series)
                }
            }
            Root::Range(node) => QueryValue::Matrix(self.raw_range(node, grid, &mut notes)?),
        };
        Ok((value, notes))
    }

    /// The samples of a range vector themselves.
    fn raw_range(
        &self,
        node: &RangeNode,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Vec<MatrixSeries>, QueryError> {
        let mut input = self.range_input(node, grid, notes)?;
        let mut tally = self.counts.tally();
        if let RangeInput::Computed(computed) = &mut input {
            self.finish(&mut computed.matrix)?;
            tally.add_first(SampleCount { looked_at: computed.looked_at, read: 0 });
        }
        let mut out = Vec::new();
        let mut buf = SampleBuf::default();
        let end = node.reference.time(grid.start_ms);
        let start = end - node.range_ms;
        for i in 0..input.len() {
            self.check_at(i)?;
            if let RangeInput::Computed(computed) = &input {
                let s = &computed.matrix.series[i];
                out.push(matrix_series(s.labels.clone(), &s.column, computed.grid));
                continue;
            }
            input.fill(i, self, &mut buf)?;
            self.budget.fits(buf.len())?;
            if let Some(s) = self.raw_series(node, input.labels(i), &buf, (start, end))? {
                let histograms: u64 = s.histograms.iter().map(|p| weight(&p.value)).sum();
                tally.add_first(SampleCount::fresh(s.floats.len() as u64 + histograms));
                out.push(s);
            }
        }
        self.counts.add(&tally);
        out.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(out)
    }

    fn raw_series(
        &self,
        node: &RangeNode,
        labels: &Labels,
        buf: &SampleBuf,
        (start, end): (i64, i64),
    ) -> Result<Option<MatrixSeries>, QueryError> {
        let mut floats = Vec::new();
        let mut histograms = Vec::new();
        if node.edges == Edges::Plain {
            let inside = |t: &i64| *t > start && *t <= end;
            let f = &buf.floats;
            let pairs = f.t_ms.iter().zip(&f.value).filter(|(t, _)| inside(t));
            floats.extend(pairs.map(|(t, v)| FloatPoint { t_ms: *t, value: *v }));
            let h = &buf.histograms;
            let pairs = h.t_ms.iter().zip(&h.value).filter(|(t, _)| inside(t));
            histograms.extend(pairs.map(|(t, v)| HistogramPoint { t_ms: *t, value: v.clone() }));
        } else {
            let word = if node.edges == Edges::Anchored { "anchored" } else { "smoothed" };
            if !buf.histograms.is_empty() {
                return Err(QueryError::Execution(format!(
                    "{word} modifier is not supported with histograms"
                )));
            }
            let points = with_edges(&buf.floats.t_ms, &buf.floats.value, (start, end), node.edges);
            floats.extend(points.into_iter().map(|(t_ms, value)| FloatPoint { t_ms, value }));
        }
        let empty = floats.is_empty() && histograms.is_empty();
        Ok((!empty).then(|| MatrixSeries { labels: labels.clone(), floats, histograms }))
    }
}

fn vector_sample(s: EvalSeries, t_ms: i64) -> Option<VectorSample> {
    let value = match s.column.points().next()?.1 {
        Point::Float(v) => SampleValue::Float(v),
        Point::Histogram(h) => SampleValue::Histogram(h.clone()),
    };
    Some(VectorSample { labels: s.labels, t_ms, value })
}

fn matrix_series(labels: Labels, column: &Column, grid: Grid) -> MatrixSeries {
    let mut s = MatrixSeries { labels, floats: Vec::new(), histograms: Vec::new() };
    s.floats.reserve(column.floats.len());
    for (k, p) in column.points() {
        let t_ms = grid.time(k);
        match p {
            Point::Float(value) => s.floats.push(FloatPoint { t_ms, value }),
            Point::Histogram(h) => s.histograms.push(HistogramPoint { t_ms, value: h.clone() }),
        }
    }
    s
}
