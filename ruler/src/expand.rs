//! Alerts from a result: templates expanded over each series.
//!
//! A template may ask queries. The engine stops at one without an answer; it is run here, once for all alerts of the rule,
//! and the expansion repeated. A template that fails puts its error in place of its text: the alert fires all the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cairn_model::labels::METRIC_NAME;
use cairn_model::sample::Value;
use cairn_model::{Labels, LabelsBuilder, LabelsRef};
use cairn_template::{Env, Queries, QueryAnswer, RuleData, Sample, Template, TemplateError};

use crate::alert::Seen;
use crate::compiled::{CompiledAlert, UnusableResult, into_vector};
use crate::seams::{Evaluator, InstantQuery, VectorSample};

/// What templates may know of this installation.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// `$externalLabels`
    pub external_labels: Arc<BTreeMap<String, String>>,
    /// `$externalURL`
    pub external_url: Arc<str>,
}

/// Answers to the queries of one rule's templates at one timestamp.
#[derive(Default)]
struct Answers(HashMap<String, QueryAnswer>);

impl Queries for Answers {
    fn answer(&self, expr: &str) -> Option<QueryAnswer> {
        self.0.get(expr).cloned()
    }
}

/// The label that names an alert.
pub const ALERT_NAME: &str = "alertname";

/// Makes the alerts of a rule named `name` from its result. `query` is the rule's own query: those of templates are asked
/// with its scope and at `now_ms`.
///
/// # Errors
/// When two series become the same alert.
pub async fn expand_alerts(
    name: &str,
    rule: &CompiledAlert,
    vector: Vec<VectorSample>,
    surroundings: &Surroundings,
    evaluator: &dyn Evaluator,
    query: &InstantQuery,
    now_ms: i64,
) -> Result<BTreeMap<Labels, Seen>, UnusableResult> {
    let mut answers = Answers::default();
    let mut seen = BTreeMap::new();
    for sample in vector {
        let data = Arc::new(RuleData {
            labels: to_map(sample.labels.as_ref()),
            external_labels: surroundings.external_labels.clone(),
            external_url: surroundings.external_url.clone(),
            value: to_template_value(&sample.value),
        });
        let mut expander = Expander { data, surroundings, evaluator, query, now_ms, answers: &mut answers };
        let mut labels = LabelsBuilder::from_labels(sample.labels.as_ref());
        labels.remove(METRIC_NAME);
        for (label, template) in &rule.labels {
            labels.set(label, &expander.text(template).await);
        }
        labels.set(ALERT_NAME, name);
        let mut annotations = LabelsBuilder::new();
        for (annotation, template) in &rule.annotations {
            annotations.set(annotation, &expander.text(template).await);
        }
        let value = match sample.value {
            Value::Float(v) => v,
            // The API shows one number; a histogram has none, and Prometheus shows zero.
            Value::Histogram(_) | Value::FloatHistogram(_) => 0.0,
        };
        if seen.insert(labels.build(), Seen { annotations: annotations.build(), value }).is_some() {
            return Err(UnusableResult::SameLabels("alert"));
        }
    }
    Ok(seen)
}

struct Expander<'a> {
    data: Arc<RuleData>,
    surroundings: &'a Surroundings,
    evaluator: &'a dyn Evaluator,
    query: &'a InstantQuery,
    now_ms: i64,
    answers: &'a mut Answers,
}

impl Expander<'_> {
    async fn text(&mut self, template: &Template) -> String {
        loop {
            let env = Env {
                now_ms: self.now_ms,
                external_url: &self.surroundings.external_url,
                queries: &*self.answers,
            };
            match template.expand(cairn_template::Value::Root(self.data.clone()), &env) {
                Ok(text) => return text,
                Err(TemplateError::NeedsQuery { expr, .. }) => {
                    let answer = self.ask(&expr).await;
                    // Each turn answers one more of the template's queries, whose number is bounded.
                    self.answers.0.insert(expr, answer);
                }
                Err(error) => return format!("<error expanding template: {error}>"),
            }
        }
    }

    async fn ask(&self, expr: &str) -> QueryAnswer {
        let query = InstantQuery { expr: expr.to_owned(), ts_ms: self.now_ms, ..self.query.clone() };
        let evaluated = self.evaluator.instant(query).await.map_err(|e| e.message)?;
        let vector = into_vector(evaluated.value).map_err(|e| e.to_string())?;
        let sample = |s: VectorSample| {
            Arc::new(Sample { labels: to_map(s.labels.as_ref()), value: to_template_value(&s.value) })
        };
        Ok(vector.into_iter().map(sample).collect())
    }
}

fn to_map(labels: LabelsRef<'_>) -> Arc<BTreeMap<String, String>> {
    Arc::new(labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect())
}

fn to_template_value(value: &Value) -> cairn_template::Value {
    match value {
        Value::Float(v) => cairn_template::Value::Float(*v),
        Value::Histogram(h) => cairn_template::Value::Histogram(h.to_float().to_string().into()),
        Value::FloatHistogram(h) => cairn_template::Value::Histogram(h.to_string().into()),
    }
}
