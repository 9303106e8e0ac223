//! `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`.
//!
//! A vector may hold classic histograms, one series a bucket, and native ones. Which series are buckets of which
//! histogram is found once; at every step the buckets that are there are put together.

use cairn_model::histogram::NanNote;
use cairn_model::labels::METRIC_NAME;
use cairn_model::{FloatHistogram, Labels, LabelsBuilder};
use hashbrown::HashMap;

use super::super::column::{Column, EvalSeries, Histogram, Matrix, Point};
use super::super::error::QueryError;
use super::super::grid::Grid;
use super::super::plan::{BucketCall, BucketFn};
use super::{Evaluator, ScalarColumn};
use crate::annotations::{Annotations, MonotonicityFix, Note};
use crate::functions::buckets::{self, ClassicBucket};
use crate::parser::ast::Span;

/// The label that holds a classic bucket's bound.
const BUCKET_LABEL: &str = "le";

/// Series that may be one histogram: equal labels but for the bound.
struct Family {
    labels: Labels,
    drop_name: bool,
    /// Classic buckets: bound and series.
    classic: Vec<(f64, usize)>,
    /// Series with native histograms.
    native: Vec<usize>,
}

/// One thing to estimate from each histogram, and what it is called.
struct Estimate {
    what: What,
    label: Option<(String, String)>,
}

enum What {
    Quantile(f64),
    Fraction(f64, f64),
}

impl Evaluator<'_> {
    /// Evaluates one of the three.
    pub(super) fn bucket_call(
        &self,
        call: &BucketCall,
        grid: Grid,
        notes: &mut Annotations,
    ) -> Result<Matrix, QueryError> {
        let params: Vec<ScalarColumn> = match &call.func {
            BucketFn::Quantile(q, _) => vec![self.scalar(q, grid, notes)?],
            BucketFn::Quantiles(_, qs) => {
                qs.iter().map(|(q, _)| self.scalar(q, grid, notes)).collect::<Result<_, _>>()?
            }
            BucketFn::Fraction(a, b) => vec![self.scalar(a, grid, notes)?, self.scalar(b, grid, notes)?],
        };
        let input = self.vector(&call.arg, grid, notes)?;
        let families = self.families(&input, call.arg_span, notes);
        let spans: Vec<Span> = match &call.func {
            BucketFn::Quantile(_, span) => vec![*span],
            BucketFn::Quantiles(_, qs) => qs.iter().map(|(_, span)| *span).collect(),
            BucketFn::Fraction(..) => Vec::new(),
        };
        for k in 0..grid.steps {
            for (q, span) in params.iter().zip(&spans) {
                self.note_quantile(q.at(k), *span, notes);
            }
        }
        let mut out = Outcome {
            matrix: Matrix { series: Vec::new(), charge: self.budget.hold(0)? },
            at: HashMap::new(),
        };
        let mut scratch = Vec::new();
        for (i, family) in families.iter().enumerate() {
            self.check_at(i)?;
            for k in 0..grid.steps {
                let Some(found) = self.at_step(family, &input, k, call.arg_span, &mut scratch, notes) else {
                    continue;
                };
                for estimate in estimates(&call.func, &params, k) {
                    let value = self.estimate(
                        &found,
                        &estimate.what,
                        &mut scratch,
                        family,
                        grid.time(k),
                        call.arg_span,
                        notes,
                    );
                    let slot = out.series(family, i, &estimate, grid.steps, self)?;
                    slot.set_float(k, value);
                }
            }
        }
        let mut matrix = out.matrix;
        matrix.series.retain(|s| !s.column.is_empty());
        for s in &mut matrix.series {
            self.drop_name(s);
        }
        self.join_renamed(&mut matrix)?;
        Ok(matrix)
    }

    /// Finds which series belong together; tells of floats that are no buckets.
    fn families(&self, input: &Matrix, span: Span, notes: &mut Annotations) -> Vec<Family> {
        let mut at: HashMap<Labels, usize> = HashMap::new();
        let mut families: Vec<Family> = Vec::new();
        let mut family = |labels: Labels, drop_name: bool, families: &mut Vec<Family>| -> usize {
            let next = families.len();
            let i = *at.entry(labels.clone()).or_insert(next);
            if i == next {
                families.push(Family { labels, drop_name, classic: Vec::new(), native: Vec::new() });
            }
            i
        };
        for (i, s) in input.series.iter().enumerate() {
            if s.column.has_float() {
                let text = s.labels.get(BUCKET_LABEL).unwrap_or("");
                match buckets::parse_bound(text) {
                    Some(bound) => {
                        let f = family(s.labels.filtered(|n| n != BUCKET_LABEL), s.drop_name, &mut families);
                        families[f].classic.push((bound, i));
                    }
                    None => {
                        let name = self.quotable_name(&s.labels);
                        notes.add_labelled(Note::BadBucketLabel, name, text, span);
                    }
                }
            }
            if !s.column.histograms.is_empty() {
                let f = family(s.labels.clone(), s.drop_name, &mut families);
                families[f].native.push(i);
            }
        }
        for f in &mut families {
            f.classic.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        families
    }

    /// Metric names are quoted only where they are still there at this point of every evaluation.
    fn quotable_name<'l>(&self, labels: &'l Labels) -> &'l str {
        if self.options.delayed_name_removal { labels.metric_name() } else { "" }
    }

    /// What a family has at step `k`: classic buckets (left in `scratch`) or native histograms; nothing, and a
    /// note, where it has both.
    fn at_step<'m>(
        &self,
        family: &Family,
        input: &'m Matrix,
        k: usize,
        span: Span,
        scratch: &mut Vec<ClassicBucket>,
        notes: &mut Annotations,
    ) -> Option<Found<'m>> {
        scratch.clear();
        for (upper, i) in &family.classic {
            if let Some(Point::Float(count)) = input.series[*i].column.get(k) {
                scratch.push(ClassicBucket { upper: *upper, count });
            }
        }
        let native = family.native.iter().find_map(|i| match input.series[*i].column.get(k) {
            Some(Point::Histogram(h)) => Some(h),
            _ => None,
        });
        match (native, scratch.is_empty()) {
            (Some(_), false) => {
                notes.add_named(Note::MixedClassicNative, self.quotable_name(&family.labels), span);
                None
            }
            (Some(h), true) => Some(Found::Native(h)),
            (None, false) => {
                buckets::normalise(scratch);
                Some(Found::Classic)
            }
            (None, true) => None,
        }
    }

    #[allow(clippy::too_many_arguments)] // the parts of one sample
    fn estimate(
        &self,
        found: &Found<'_>,
        what: &What,
        scratch: &mut [ClassicBucket],
        family: &Family,
        t_ms: i64,
        span: Span,
        notes: &mut Annotations,
    ) -> f64 {
        let name = self.quotable_name(&family.labels);
        match found {
            Found::Native(h) => {
                let (value, note) = native(h, what);
                if let Some(note) = note {
                    notes.add_named(note, name, span);
                }
                value
            }
            Found::Classic => match what {
                What::Fraction(lower, upper) => buckets::fraction(*lower, *upper, scratch),
                What::Quantile(q) => {
                    let (value, forced) = buckets::quantile(*q, scratch);
                    if let Some(f) = forced {
                        let fix = MonotonicityFix {
                            t_ms: (t_ms, t_ms),
                            buckets: f.buckets,
                            max_diff: f.max_diff,
                            samples: 1,
                        };
                        notes.add_fix(name, fix, span);
                    }
                    value
                }
            },
        }
    }
}

/// What a family has at one step.
enum Found<'m> {
    Native(&'m Histogram),
    Classic,
}

fn native(h: &FloatHistogram, what: &What) -> (f64, Option<Note>) {
    let (value, note) = match what {
        What::Quantile(q) => h.quantile(*q),
        What::Fraction(lower, upper) => h.fraction(*lower, *upper),
    };
    let note = note.map(|n| match n {
        NanNote::Result => Note::QuantileNanResult,
        NanNote::Skew => Note::QuantileNanSkew,
        NanNote::Excluded => Note::FractionNan,
    });
    (value, note)
}

/// What is to be estimated at step `k`.
fn estimates<'a>(
    func: &'a BucketFn,
    params: &'a [ScalarColumn],
    k: usize,
) -> impl Iterator<Item = Estimate> + 'a {
    let count = if matches!(func, BucketFn::Quantiles(..)) { params.len() } else { 1 };
    (0..count).map(move |i| match func {
        BucketFn::Fraction(..) => {
            Estimate { what: What::Fraction(params[0].at(k), params[1].at(k)), label: None }
        }
        BucketFn::Quantile(..) => Estimate { what: What::Quantile(params[i].at(k)), label: None },
        BucketFn::Quantiles(label, _) => {
            let q = params[i].at(k);
            Estimate { what: What::Quantile(q), label: Some((label.clone(), quantile_text(q))) }
        }
    })
}

/// A quantile as a label value, as OpenMetrics writes floats: with a point where Go's `%g` has neither point nor
/// exponent.
fn quantile_text(q: f64) -> String {
    match q {
        1.0 => "1.0".to_owned(),
        0.0 => "0.0".to_owned(),
        -1.0 => "-1.0".to_owned(),
        q => {
            let text = cairn_model::number::format_g(q);
            let plain = q.is_finite() && !text.contains(['e', '.']);
            if plain { format!("{text}.0") } else { text }
        }
    }
}

/// The results so far, by family and label.
struct Outcome {
    matrix: Matrix,
    at: HashMap<(usize, Option<String>), usize>,
}

impl Outcome {
    fn series(
        &mut self,
        family: &Family,
        index: usize,
        estimate: &Estimate,
        steps: usize,
        eval: &Evaluator<'_>,
    ) -> Result<&mut Column, QueryError> {
        let key = (index, estimate.label.as_ref().map(|(_, value)| value.clone()));
        let next = self.matrix.series.len();
        let i = *self.at.entry(key).or_insert(next);
        if i == next {
            let labels = match &estimate.label {
                None => family.labels.clone(),
                Some((name, value)) => {
                    let mut b = LabelsBuilder::from_labels(family.labels.as_ref());
                    if name == METRIC_NAME && !eval.options.delayed_name_removal {
                        b.remove(METRIC_NAME);
                    }
                    b.set(name, value);
                    b.build()
                }
            };
            let mut column = Column::default();
            column.reset(steps);
            self.matrix.charge.grow(steps)?;
            self.matrix.series.push(EvalSeries { labels, drop_name: family.drop_name, column });
        }
        Ok(&mut self.matrix.series[i].column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_written_as_openmetrics_writes_floats() {
        let got = [0.0, 1.0, 0.5, 0.99, f64::NAN, f64::INFINITY, 2.0, 1e-9].map(quantile_text);
        assert_eq!(got, ["0.0", "1.0", "0.5", "0.99", "NaN", "+Inf", "2.0", "1e-09"]);
    }
}
