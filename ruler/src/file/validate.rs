//! From a YAML document to rules, or to everything that is wrong with them.
//!
//! Pure. Problems come in file order and do not hide one another, except that a document that is no YAML, or has keys
//! that do not exist, is looked at no further.

use std::collections::{BTreeMap, BTreeSet};

use cairn_promql::parser::{self, Features, duration::parse_duration};
use cairn_template::Template;

use super::problem::{Place, Problem};
use super::yaml::{self, Pairs, RawGroup, RawRule, Text};
use super::{PartialResponse, ReadOptions, RuleGroup, RuleKind, RuleSpec};

/// Reads and validates the text of a rule file.
///
/// # Errors
/// All that is wrong, in file order.
pub fn parse_rule_file(text: &str, options: ReadOptions) -> Result<Vec<RuleGroup>, Vec<Problem>> {
    let raw = yaml::read(text, options.ignore_unknown_fields)?;
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    let groups = raw
        .groups
        .iter()
        .map(|group| validate_group(group, options.features, &mut names, &mut problems))
        .collect();
    match problems.is_empty() {
        true => Ok(groups),
        false => Err(problems),
    }
}

fn validate_group(
    raw: &RawGroup,
    features: Features,
    names: &mut BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> RuleGroup {
    let name = raw.name.clone().unwrap_or_default();
    let mut about = |message: String| {
        problems.push(Problem { places: vec![name.place], rule: None, message });
    };
    if name.value.is_empty() {
        about("Groupname must not be empty".to_owned());
    }
    if !names.insert(name.value.clone()) {
        about(format!("groupname: {:?} is repeated in the same file", name.value));
    }
    let interval_ms = duration(raw.interval.as_ref(), problems).filter(|ms| *ms > 0);
    let query_offset_ms = duration(raw.query_offset.as_ref(), problems);
    let limit = limit(raw.limit.as_ref(), problems);
    let partial_response = strategy(raw.partial_response_strategy.as_ref(), problems);
    for (label, _) in &raw.labels {
        if !is_settable_label(&label.value) {
            problems.push(Problem::plain(format!("invalid label name: {}", label.value)));
        }
    }
    let rules = raw
        .rules
        .iter()
        .enumerate()
        .map(|(i, rule)| {
            let number = i + 1;
            let name_of_rule = rule_name(rule).value;
            let context = Context { group: &name.value, number, name: name_of_rule, features, problems };
            validate_rule(rule, &raw.labels, context)
        })
        .collect();
    RuleGroup { name: name.value, interval_ms, query_offset_ms, limit, partial_response, rules }
}

fn duration(text: Option<&Text>, problems: &mut Vec<Problem>) -> Option<i64> {
    let text = text?;
    match parse_duration(&text.value) {
        Ok(ms) => Some(ms),
        Err(e) => {
            problems.push(Problem { places: vec![text.place], rule: None, message: e.to_string() });
            None
        }
    }
}

fn limit(text: Option<&Text>, problems: &mut Vec<Problem>) -> usize {
    let Some(text) = text else { return 0 };
    match text.value.parse::<i64>() {
        Ok(n) => usize::try_from(n).unwrap_or(0),
        Err(_) => {
            let message = format!("limit must be a whole number, not {:?}", text.value);
            problems.push(Problem { places: vec![text.place], rule: None, message });
            0
        }
    }
}

fn strategy(text: Option<&Text>, problems: &mut Vec<Problem>) -> PartialResponse {
    match text.map(|t| (t, t.value.to_ascii_lowercase())) {
        None => PartialResponse::default(),
        Some((_, word)) if word == "abort" || word.is_empty() => PartialResponse::Abort,
        Some((_, word)) if word == "warn" => PartialResponse::Warn,
        Some((text, _)) => {
            let message =
                format!("partial_response_strategy must be \"warn\" or \"abort\", not {:?}", text.value);
            problems.push(Problem { places: vec![text.place], rule: None, message });
            PartialResponse::default()
        }
    }
}

/// What holds for one rule, and where its problems go.
struct Context<'a> {
    group: &'a str,
    number: usize,
    name: String,
    features: Features,
    problems: &'a mut Vec<Problem>,
}

impl Context<'_> {
    fn problem(&mut self, places: &[Place], message: impl Into<String>) {
        self.problems.push(Problem {
            places: places.to_vec(),
            rule: Some((self.group.to_owned(), self.number, self.name.clone())),
            message: message.into(),
        });
    }
}

/// An alert's name comes first in messages, as with promtool.
fn rule_name(rule: &RawRule) -> Text {
    let named = [&rule.alert, &rule.record].into_iter().flatten().find(|name| !name.value.is_empty());
    named.cloned().unwrap_or_default()
}

fn place(text: Option<&Text>) -> Place {
    text.map(|t| t.place).unwrap_or_default()
}

fn validate_rule(raw: &RawRule, group_labels: &Pairs, mut context: Context<'_>) -> RuleSpec {
    let is_set = |text: &Option<Text>| text.as_ref().is_some_and(|t| !t.value.is_empty());
    let (is_record, is_alert) = (is_set(&raw.record), is_set(&raw.alert));
    let both = [place(raw.record.as_ref()), place(raw.alert.as_ref())];
    if is_record && is_alert {
        context.problem(&both, "only one of 'record' and 'alert' must be set");
    }
    if !is_record && !is_alert {
        context.problem(&both, "one of 'record' or 'alert' must be set");
    }
    let expr = raw.expr.clone().unwrap_or_default();
    if expr.value.is_empty() {
        context.problem(&[expr.place], "field 'expr' must be set in rule");
    } else if let Err(e) = parser::parse(&expr.value, context.features) {
        context.problem(&[expr.place], format!("could not parse expression: {e}"));
    }
    if is_record {
        validate_recording(raw, &mut context);
    }
    validate_names(raw, &mut context);
    if is_alert {
        validate_templates(raw, &mut context);
    }
    let for_ms = duration(raw.for_.as_ref(), context.problems).unwrap_or(0);
    let keep_firing_for_ms = duration(raw.keep_firing_for.as_ref(), context.problems).unwrap_or(0);
    let kind = match is_alert {
        true => RuleKind::Alerting { for_ms, keep_firing_for_ms, annotations: to_map(&raw.annotations) },
        false => RuleKind::Recording,
    };
    let mut labels = to_map(group_labels);
    labels.extend(to_map(&raw.labels));
    RuleSpec { name: context.name, expr: expr.value, labels, kind }
}

fn to_map(pairs: &Pairs) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
}

fn validate_recording(raw: &RawRule, context: &mut Context<'_>) {
    let at = place(raw.record.as_ref());
    let is_set =
        |text: &Option<Text>| text.as_ref().is_some_and(|t| !matches!(t.value.as_str(), "" | "0" | "0s"));
    for (set, field) in [
        (!raw.annotations.is_empty(), "annotations"),
        (is_set(&raw.for_), "for"),
        (is_set(&raw.keep_firing_for), "keep_firing_for"),
    ] {
        if set {
            context.problem(&[at], format!("invalid field '{field}' in recording rule"));
        }
    }
    let name = &context.name;
    if name.contains(['{', '}']) {
        let message = format!("braces present in the recording rule name; should it be in expr?: {name}");
        context.problem(&[at], message);
    }
}

fn validate_names(raw: &RawRule, context: &mut Context<'_>) {
    for (label, _) in &raw.labels {
        if !is_settable_label(&label.value) {
            context.problem(&[], format!("invalid label name: {}", label.value));
        }
    }
    for (annotation, _) in &raw.annotations {
        if annotation.value.is_empty() {
            context.problem(&[], format!("invalid annotation name: {}", annotation.value));
        }
    }
}

/// Names may be any text since Prometheus 3; the metric name is set by `record`.
fn is_settable_label(name: &str) -> bool {
    !name.is_empty() && name != "__name__"
}

fn validate_templates(raw: &RawRule, context: &mut Context<'_>) {
    let template_name = format!("__alert_{}", context.name);
    for (what, pairs) in [("label", &raw.labels), ("annotation", &raw.annotations)] {
        for (name, template) in pairs {
            if let Err(e) = Template::parse_rule(&template_name, &template.value) {
                context.problem(&[], format!("{what} {:?}: {}", name.value, e.go_text()));
            }
        }
    }
}
