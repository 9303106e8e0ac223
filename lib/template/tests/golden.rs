//! Expansions compared with Prometheus' own expander, case by case: text, or error word for word.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_template::{Env, Queries, QueryAnswer, RuleData, Sample, Template, Value};

const GOLDEN: &str = include_str!("golden/expander.jsonl");
const EXTERNAL_URL: &str = "http://testhost:9090/path/prefix";

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    labels: Option<BTreeMap<String, String>>,
    value: Option<String>,
    output: Option<String>,
    error: Option<String>,
    /// Why cairn differs here on purpose; such a case is held against `cairn`.
    differs: Option<String>,
    cairn: Option<String>,
}

/// The queries the golden file was made with.
struct Fixed;

fn labels(pairs: &[(&str, &str)]) -> Arc<BTreeMap<String, String>> {
    Arc::new(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
}

impl Queries for Fixed {
    fn answer(&self, expr: &str) -> Option<QueryAnswer> {
        if expr == "broken" {
            return Some(Err("query failed".to_owned()));
        }
        if expr.starts_with("empty") {
            return Some(Ok(Vec::new()));
        }
        let first = labels(&[("__name__", expr), ("instance", "b:80"), ("job", "x")]);
        let second = labels(&[("__name__", expr), ("instance", "a:80"), ("__value__", "str")]);
        Some(Ok(vec![
            Arc::new(Sample { labels: first, value: Value::Float(11.5) }),
            Arc::new(Sample { labels: second, value: Value::Float(21.0) }),
        ]))
    }
}

fn expand(case: &Case) -> Result<String, String> {
    let default = [("alertname", "Down"), ("instance", "localhost:9100"), ("job", "node")];
    let value = match case.value.as_deref() {
        None => 1234567.0,
        Some("+Inf") => f64::INFINITY,
        Some(text) => text.parse().expect("a number"),
    };
    let data = RuleData {
        labels: case.labels.clone().map_or_else(|| labels(&default), Arc::new),
        external_labels: labels(&[("cluster", "eu1")]),
        external_url: EXTERNAL_URL.into(),
        value: Value::Float(value),
    };
    let env = Env { now_ms: 1_435_065_584_128, external_url: EXTERNAL_URL, queries: &Fixed };
    Template::parse_rule("__alert_T", &case.text)
        .and_then(|template| template.expand(Value::Root(Arc::new(data)), &env))
        .map_err(|e| e.to_string())
}

#[test]
fn every_expansion_equals_prometheus() {
    let (mut compared, mut wrong) = (0, String::new());
    for line in GOLDEN.lines() {
        let case: Case = serde_json::from_str(line).expect("a golden line");
        let got = expand(&case);
        let want = match (&case.differs, &case.output, &case.error) {
            (Some(_), ..) => Err(case.cairn.clone().expect("a case that differs says how")),
            (None, Some(output), None) => Ok(output.clone()),
            (None, None, Some(error)) => Err(error.clone()),
            _ => panic!("neither output nor error: {line}"),
        };
        let got_text = got.as_ref().unwrap_or_else(|e| e);
        let same = match &case.differs {
            Some(_) => want.as_ref().unwrap_err() == got_text,
            None => want == got,
        };
        compared += 1;
        if !same {
            wrong += &format!("{:?}\n  want {want:?}\n  got  {got:?}\n", case.text);
        }
    }
    assert!(compared > 200, "only {compared} cases");
    assert!(wrong.is_empty(), "{wrong}");
}
