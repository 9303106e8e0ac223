//! What people write: rules, expressions, configuration, exports.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::matcher::{MatchOp, Matcher};
use cairn_ruler::file::{ReadOptions, parse_rule_file};
use cairn_template::{Env, NoQueries, RuleData, Template, Value};

/// A template of a rule, parsed and expanded.
pub fn template(data: &[u8]) {
    let Ok(template) = Template::parse_rule("fuzz", &String::from_utf8_lossy(data)) else { return };
    let labels = Arc::new(BTreeMap::from([("job".to_owned(), "node".to_owned())]));
    let root = Value::Root(Arc::new(RuleData {
        labels: labels.clone(),
        external_labels: labels,
        external_url: "http://localhost:9090".into(),
        value: Value::Float(1.5),
    }));
    let env = Env { now_ms: 0, external_url: "http://localhost:9090", queries: &NoQueries("no data") };
    let _ = template.expand(root, &env);
}

/// A regular expression of a matcher, and a value for it after the first NUL.
pub fn matcher(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (source, value) = text.split_once('\0').unwrap_or((&text, ""));
    let yes = Matcher::new(MatchOp::Regex, "name", source);
    let no = Matcher::new(MatchOp::NotRegex, "name", source);
    let (Ok(yes), Ok(no)) = (yes, no) else { return };
    assert_ne!(yes.matches(value), no.matches(value), "a matcher and its opposite");
    if let Some(literals) = yes.literals() {
        assert_eq!(literals.contains(&value), yes.matches(value), "literals stand for the expression");
    }
}

/// A rule file. What is accepted strictly is accepted with unknown fields allowed too, and is the same.
pub fn rule_file(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(groups) = parse_rule_file(&text, ReadOptions::default()) else { return };
    let lenient = ReadOptions { ignore_unknown_fields: true, ..ReadOptions::default() };
    assert_eq!(parse_rule_file(&text, lenient).ok(), Some(groups));
}

/// The file of `--objstore.config-file`.
pub fn objstore_config(data: &[u8]) {
    let Ok((config, _)) = cairn_bucket::BucketConfig::parse(&String::from_utf8_lossy(data)) else { return };
    assert!(!config.prefix.starts_with('/') && !config.prefix.ends_with('/'), "{:?}", config.prefix);
}

/// Text with a timestamp a sample.
pub fn openmetrics(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let samples = cairn_tsdb::tools::openmetrics::samples(&text);
    assert!(samples.count() <= text.lines().count() + 1, "at most a sample a line, and one error");
}

/// A file in Prometheus' test language; parsed, not run.
pub fn promqltest(data: &[u8]) {
    if let Ok(script) = cairn_promql::testlang::Script::parse(&String::from_utf8_lossy(data)) {
        assert!(script.evals() <= data.len(), "an evaluation takes at least a line");
    }
}

/// A value of `--alertmanagers.url`.
pub fn alertmanager_url(data: &[u8]) {
    let _ = cairn_notify::AlertmanagerUrl::parse(&String::from_utf8_lossy(data));
}
