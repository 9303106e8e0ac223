//! A rule ready to run: templates parsed, dependencies known.

use std::collections::BTreeMap;

use cairn_model::labels::METRIC_NAME;
use cairn_model::sample::Value;
use cairn_model::{Labels, LabelsBuilder, LabelsRef};
use cairn_template::{Template, TemplateError};

use crate::alert::Timing;
use crate::dependencies::Touches;
use crate::file::{RuleKind, RuleSpec};
use crate::seams::{QueryValue, VectorSample};

/// A rule of a running group.
#[derive(Debug)]
pub struct CompiledRule {
    /// As the file has it, group labels merged in.
    pub spec: RuleSpec,
    /// The expression as the parser prints it, for the APIs.
    pub shown_expr: String,
    /// What it reads and writes.
    pub touches: Touches,
    /// Templates of an alerting rule.
    pub alerting: Option<CompiledAlert>,
}

/// The parts that only alerting rules have.
#[derive(Debug)]
pub struct CompiledAlert {
    /// What the rule says about time.
    pub timing: Timing,
    /// Label templates by name.
    pub labels: Vec<(String, Template)>,
    /// Annotation templates by name.
    pub annotations: Vec<(String, Template)>,
}

impl CompiledRule {
    /// Compiles a valid rule.
    ///
    /// # Errors
    /// A template that does not parse; validation found it before.
    pub fn new(spec: RuleSpec) -> Result<CompiledRule, TemplateError> {
        let template_name = format!("__alert_{}", spec.name);
        let compile = |templates: &BTreeMap<String, String>| {
            let parse = |(name, text): (&String, &String)| {
                Ok((name.clone(), Template::parse_rule(&template_name, text)?))
            };
            templates.iter().map(parse).collect::<Result<Vec<_>, TemplateError>>()
        };
        let alerting = match &spec.kind {
            RuleKind::Recording => None,
            RuleKind::Alerting { for_ms, keep_firing_for_ms, annotations } => Some(CompiledAlert {
                timing: Timing { for_ms: *for_ms, keep_firing_for_ms: *keep_firing_for_ms },
                labels: compile(&spec.labels)?,
                annotations: compile(annotations)?,
            }),
        };
        let shown_expr = match cairn_promql::parser::parse(&spec.expr, cairn_promql::parser::Features::all())
        {
            Ok(expr) => expr.to_string(),
            Err(_) => spec.expr.clone(),
        };
        Ok(CompiledRule { touches: Touches::of(&spec), shown_expr, alerting, spec })
    }
}

/// Why a result cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum UnusableResult {
    #[error("rule result is not a vector or scalar but a {0}")]
    Type(&'static str),
    #[error("vector contains metrics with the same labelset after applying {0} labels")]
    SameLabels(&'static str),
    #[error("exceeded limit of {limit} with {have} {what}")]
    Limit { limit: usize, have: usize, what: &'static str },
}

/// The vector of a result; a scalar is one sample without labels.
pub fn into_vector(value: QueryValue) -> Result<Vec<VectorSample>, UnusableResult> {
    match value {
        QueryValue::Vector(vector) => Ok(vector),
        QueryValue::Scalar(v) => Ok(vec![VectorSample { labels: Labels::empty(), value: Value::Float(v) }]),
        QueryValue::Unusable(type_name) => Err(UnusableResult::Type(type_name)),
    }
}

/// The series that a recording rule writes for a result, sorted by labels.
///
/// # Errors
/// When two series get the same labels, or there are more than `limit` (0: no limit).
pub fn record(
    spec: &RuleSpec,
    vector: Vec<VectorSample>,
    limit: usize,
) -> Result<BTreeMap<Labels, Value>, UnusableResult> {
    let have = vector.len();
    let mut series = BTreeMap::new();
    for sample in vector {
        let labels = recorded_labels(spec, sample.labels.as_ref());
        if series.insert(labels, sample.value).is_some() {
            return Err(UnusableResult::SameLabels("rule"));
        }
    }
    if limit > 0 && have > limit {
        return Err(UnusableResult::Limit { limit, have, what: "series" });
    }
    Ok(series)
}

fn recorded_labels(spec: &RuleSpec, labels: LabelsRef<'_>) -> Labels {
    let mut builder = LabelsBuilder::from_labels(labels);
    builder.set(METRIC_NAME, &spec.name);
    for (name, value) in &spec.labels {
        builder.set(name, value);
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(labels: &[(&str, &str)]) -> RuleSpec {
        RuleSpec {
            name: "job:up:sum".to_owned(),
            expr: "up".to_owned(),
            labels: labels.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            kind: RuleKind::Recording,
        }
    }

    fn sample(pairs: &[(&str, &str)]) -> VectorSample {
        VectorSample { labels: Labels::from_pairs(pairs.iter().copied()).unwrap(), value: Value::Float(1.0) }
    }

    #[test]
    fn rule_labels_win_and_an_empty_one_removes() {
        let vector = vec![sample(&[("__name__", "up"), ("job", "a"), ("zone", "z"), ("x", "1")])];
        let series = record(&spec(&[("zone", ""), ("job", "b"), ("new", "n")]), vector, 0).unwrap();
        let labels: Vec<String> = series.keys().map(ToString::to_string).collect();
        assert_eq!(labels, [r#"job:up:sum{job="b", new="n", x="1"}"#]);
    }

    #[test]
    fn equal_label_sets_and_too_many_series_write_nothing() {
        let vector = vec![sample(&[("job", "a")]), sample(&[("job", "b")])];
        assert_eq!(
            record(&spec(&[("job", "c")]), vector.clone(), 0),
            Err(UnusableResult::SameLabels("rule"))
        );
        let error = record(&spec(&[]), vector.clone(), 1).unwrap_err();
        assert_eq!(error.to_string(), "exceeded limit of 1 with 2 series");
        assert_eq!(record(&spec(&[]), vector, 2).unwrap().len(), 2);
    }

    #[test]
    fn a_scalar_is_one_series_and_a_range_vector_none() {
        assert_eq!(into_vector(QueryValue::Scalar(3.0)).unwrap().len(), 1);
        assert!(into_vector(QueryValue::Unusable("matrix")).is_err());
    }
}
