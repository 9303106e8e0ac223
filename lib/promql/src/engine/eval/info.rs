//! `info`: enriches series with the data labels of info metrics that share their `instance` and `job`.
//!
//! All info series that the selector allows were fetched; only those that share an identifying label value with a
//! series to enrich take part. At every step, of two info series for the same identity the one with the newer
//! sample counts.

use cairn_model::labels::METRIC_NAME;
use cairn_model::{Labels, LabelsBuilder, Matcher};
use hashbrown::{HashMap, HashSet};

use super::super::column::{Column, EvalSeries, Matrix, Point, SAME_LABELSET};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{Info, SampleTime, Select, VectorNode};
use super::Evaluator;
use crate::annotations::Annotations;
use crate::parser::ast::Span;

/// The labels by which info metrics belong to series.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Name of an info metric and the identifying labels: what a series looks for.
type Identity = (String, [String; 2]);

fn identity(name: &str, labels: &Labels) -> Identity {
    (name.to_owned(), IDENTIFYING.map(|l| labels.get(l).unwrap_or("").to_owned()))
}

impl Evaluator<'_> {
    /// Evaluates `info`.
    pub(super) fn info(
        &self,
        info: &Info,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let base = self.vector(&info.arg, grid, notes)?;
        let is_info = |s: &EvalSeries| info.name_matchers.iter().all(|m| m.matches(s.labels.metric_name()));
        let sources = self.info_series(info, &base, &is_info, grid, notes)?;
        let names: Vec<String> = {
            let set: HashSet<&str> = sources.iter().map(|s| s.labels.metric_name()).collect();
            let mut names: Vec<String> = set.into_iter().map(str::to_owned).collect();
            names.sort();
            names
        };
        let mut by_identity: HashMap<Identity, Vec<usize>> = HashMap::new();
        for (i, s) in sources.iter().enumerate() {
            by_identity.entry(identity(s.labels.metric_name(), &s.labels)).or_default().push(i);
        }
        refuse_conflicts(&by_identity, &sources, &base, grid)?;
        let must_match = info.data_matchers.iter().any(|m| !m.matches(""));
        let mut out = Enriched { at: HashMap::new(), series: Vec::new() };
        for (i, s) in base.series.iter().enumerate() {
            self.check_at(i)?;
            if is_info(s) {
                for (k, p) in s.column.points() {
                    out.set(&s.labels, s, k, p, grid.steps)?;
                }
                continue;
            }
            let candidates: Vec<&[usize]> = names
                .iter()
                .filter_map(|n| by_identity.get(&identity(n, &s.labels)).map(Vec::as_slice))
                .collect();
            let mut known: HashMap<Vec<usize>, Labels> = HashMap::new();
            for (k, p) in s.column.points() {
                let found: Vec<usize> =
                    candidates.iter().filter_map(|list| newest_at(list, &sources, k)).collect();
                if found.is_empty() && must_match {
                    continue;
                }
                let labels = match known.get(&found) {
                    Some(labels) => labels.clone(),
                    None => {
                        let labels = enriched(&s.labels, &found, &sources, &info.data_matchers)?;
                        known.insert(found, labels.clone());
                        labels
                    }
                };
                out.set(&labels, s, k, p, grid.steps)?;
            }
        }
        let mut matrix = Matrix { series: out.series, charge: base.charge };
        matrix.series.retain(|s| !s.column.is_empty());
        Ok(matrix)
    }

    /// The info series that may belong to a series of `base`; their values are their samples' times.
    fn info_series(
        &self,
        info: &Info,
        base: &Matrix,
        is_info: &dyn Fn(&EvalSeries) -> bool,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Vec<EvalSeries>, QueryError> {
        let mut wanted: [HashSet<&str>; 2] = Default::default();
        for s in base.series.iter().filter(|s| !is_info(s)) {
            for (label, set) in IDENTIFYING.iter().zip(&mut wanted) {
                set.extend(s.labels.get(label));
            }
        }
        if wanted.iter().all(HashSet::is_empty) {
            return Ok(Vec::new());
        }
        let select = Select {
            fetch: info.fetch,
            reference: info.reference,
            smoothed: false,
            one_name: true,
            stats_only: false,
            span: Span::default(),
        };
        let node = VectorNode::SampleTime { select, which: SampleTime::OfFloats };
        let leaf = self.leaf(&node, grid, notes)?;
        let matrix = self.collect_named(&*leaf, notes)?;
        let shares = |s: &EvalSeries| {
            IDENTIFYING
                .iter()
                .zip(&wanted)
                .all(|(l, set)| set.is_empty() || set.contains(s.labels.get(l).unwrap_or("")))
        };
        Ok(matrix.into_iter().filter(shares).collect())
    }

    /// A leaf's matrix with the metric names left in place.
    fn collect_named(
        &self,
        leaf: &dyn super::source::SeriesSource,
        notes: &mut Annotations,
    ) -> Result<Vec<EvalSeries>, QueryError> {
        let mut scratch = super::source::Scratch { tally: self.counts.tally(), ..Default::default() };
        let mut series = Vec::new();
        for i in 0..leaf.len() {
            self.check_at(i)?;
            if let Some(column) = leaf.read(i, &mut scratch, notes)?.and_then(Column::trimmed) {
                if !column.histograms.is_empty() {
                    let labels = leaf.labels(i);
                    return Err(QueryError::Execution(format!(
                        "this should be an info metric, with float samples: {labels}"
                    )));
                }
                series.push(EvalSeries { labels: leaf.labels(i).clone(), drop_name: false, column });
            }
        }
        self.counts.add(&scratch.tally);
        Ok(series)
    }
}

fn time_at(s: &EvalSeries, k: usize) -> Option<f64> {
    match s.column.get(k) {
        Some(Point::Float(t)) => Some(t),
        _ => None,
    }
}

/// The series among `list` with the newest sample at step `k`.
fn newest_at(list: &[usize], sources: &[EvalSeries], k: usize) -> Option<usize> {
    list.iter()
        .filter_map(|i| time_at(&sources[*i], k).map(|t| (t, *i)))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, i)| i)
}

/// Refuses two info series of one identity whose samples are equally new, at steps with anything to enrich.
fn refuse_conflicts(
    by_identity: &HashMap<Identity, Vec<usize>>,
    sources: &[EvalSeries],
    base: &Matrix,
    grid: Grid,
) -> Result<(), QueryError> {
    for list in by_identity.values().filter(|l| l.len() > 1) {
        for k in (0..grid.steps).filter(|k| base.series.iter().any(|s| s.column.has(*k))) {
            let mut newest: Option<(f64, usize)> = None;
            for i in list {
                let Some(t) = time_at(&sources[*i], k) else { continue };
                match newest {
                    Some((at, other)) if at == t => {
                        let (a, b) = (&sources[other].labels, &sources[*i].labels);
                        let ms = (t * 1000.0).round() as i64;
                        return Err(QueryError::Execution(format!(
                            "found duplicate series for info metric: existing {a} @ {ms}, new {b} @ {ms}"
                        )));
                    }
                    Some((at, _)) if at > t => {}
                    _ => newest = Some((t, *i)),
                }
            }
        }
    }
    Ok(())
}

/// The labels of a series with those of its info series; its own win.
fn enriched(
    base: &Labels,
    found: &[usize],
    sources: &[EvalSeries],
    data_matchers: &[Matcher],
) -> Result<Labels, QueryError> {
    let wanted = |name: &str| data_matchers.is_empty() || data_matchers.iter().any(|m| m.name == name);
    let mut added = LabelsBuilder::new();
    for i in found {
        for (name, value) in sources[*i].labels.iter().filter(|(n, _)| *n != METRIC_NAME && wanted(n)) {
            if added.get(name).is_some_and(|v| v != value) {
                return Err(QueryError::Execution(format!("conflicting label: {name}")));
            }
            if base.get(name).is_none() {
                added.set(name, value);
            }
        }
    }
    let mut b = LabelsBuilder::from_labels(base.as_ref());
    for (name, value) in added.build().iter() {
        b.set(name, value);
    }
    Ok(b.build())
}

/// The results so far, by labels.
struct Enriched {
    at: HashMap<Labels, usize>,
    series: Vec<EvalSeries>,
}

impl Enriched {
    fn set(
        &mut self,
        labels: &Labels,
        from: &EvalSeries,
        k: usize,
        point: Point<'_>,
        steps: usize,
    ) -> Result<(), QueryError> {
        let next = self.series.len();
        let i = match self.at.get(labels) {
            Some(i) => *i,
            None => {
                self.at.insert(labels.clone(), next);
                let mut column = Column::default();
                column.reset(steps);
                self.series.push(EvalSeries { labels: labels.clone(), drop_name: from.drop_name, column });
                next
            }
        };
        let column = &mut self.series[i].column;
        if column.has(k) {
            return Err(QueryError::Execution(SAME_LABELSET.to_owned()));
        }
        column.set(k, point);
        Ok(())
    }
}
