//! Which rules of a group may run at the same time.
//!
//! Rules run in file order unless that cannot be noticed: two rules are kept in order when one may read what the other
//! writes, or both write the same series name. Pure.

use std::collections::BTreeSet;

use cairn_model::Matcher;
use cairn_model::labels::METRIC_NAME;
use cairn_promql::parser::{self, Features};

use crate::file::RuleSpec;

/// What a rule reads and writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Touches {
    /// Matchers on the metric name, one list a selector; an empty list reads anything.
    reads: Vec<Vec<Matcher>>,
    /// Names of the series it writes.
    writes: Vec<String>,
}

/// Series that alerting rules write.
pub const ALERTS: &str = "ALERTS";
/// Series that remember since when alerts are active.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";

impl Touches {
    /// Looks at a rule. An expression that does not parse reads everything, as do queries in templates.
    pub fn of(rule: &RuleSpec) -> Touches {
        let writes = match rule.is_alert() {
            true => vec![ALERTS.to_owned(), ALERTS_FOR_STATE.to_owned()],
            false => vec![rule.name.clone()],
        };
        let queries_in_templates = match &rule.kind {
            crate::file::RuleKind::Alerting { annotations, .. } => {
                annotations.values().chain(rule.labels.values()).any(|text| text.contains("query"))
            }
            crate::file::RuleKind::Recording => false,
        };
        let reads = match parser::parse(&rule.expr, Features::all()) {
            Ok(expr) if !queries_in_templates => expr
                .selectors()
                .iter()
                .map(|selector| selector.matchers.iter().filter(|m| m.name == METRIC_NAME).cloned().collect())
                .collect(),
            _ => vec![Vec::new()],
        };
        Touches { reads, writes }
    }

    fn may_read(&self, other: &Touches) -> bool {
        self.reads.iter().any(|matchers| {
            other.writes.iter().any(|name| matchers.iter().all(|matcher| matcher.matches(name)))
        })
    }

    fn writes_same(&self, other: &Touches) -> bool {
        self.writes
            .iter()
            .any(|name| other.writes.contains(name) && name != ALERTS && name != ALERTS_FOR_STATE)
    }
}

/// Batches of rules by index; the rules of a batch may run together, batches run one after the other.
pub fn batches(rules: &[Touches]) -> Vec<Vec<usize>> {
    let mut level_of: Vec<usize> = Vec::with_capacity(rules.len());
    for (i, rule) in rules.iter().enumerate() {
        let after = (0..i)
            .filter(|j| rule.may_read(&rules[*j]) || rules[*j].may_read(rule) || rule.writes_same(&rules[*j]))
            .map(|j| level_of[j] + 1)
            .max();
        level_of.push(after.unwrap_or(0));
    }
    let levels: BTreeSet<usize> = level_of.iter().copied().collect();
    levels.into_iter().map(|level| (0..rules.len()).filter(|i| level_of[*i] == level).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{ReadOptions, parse_rule_file};

    fn batches_of(rules: &str) -> Vec<Vec<usize>> {
        let text = format!("groups:\n- name: g\n  rules:\n{rules}");
        let groups = parse_rule_file(&text, ReadOptions::default()).unwrap();
        batches(&groups[0].rules.iter().map(Touches::of).collect::<Vec<_>>())
    }

    #[test]
    fn rules_that_do_not_read_one_another_run_together() {
        let rules = "  - {record: a, expr: up}\n  - {record: b, expr: up}\n  - {alert: c, expr: up}\n";
        assert_eq!(batches_of(rules), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_rule_waits_for_what_it_reads() {
        let rules = "  - {record: a, expr: up}\n  - {record: b, expr: sum(a)}\n  - {record: c, expr: up}\n  - {alert: d, expr: b > 1}\n";
        assert_eq!(batches_of(rules), [vec![0, 2], vec![1], vec![3]]);
    }

    #[test]
    fn a_rule_that_reads_a_later_one_sees_its_last_value() {
        let rules = "  - {record: a, expr: b}\n  - {record: b, expr: up}\n";
        assert_eq!(batches_of(rules), [vec![0], vec![1]]);
    }

    #[test]
    fn a_selector_without_a_name_keeps_the_order() {
        let rules = "  - {record: a, expr: up}\n  - {record: b, expr: 'count({job=\"x\"})'}\n  - {record: c, expr: up}\n";
        assert_eq!(batches_of(rules), [vec![0], vec![1], vec![2]]);
        let rules = "  - {record: a1, expr: up}\n  - {record: b, expr: '{__name__=~\"a.*\"}'}\n  - {record: c, expr: up}\n";
        assert_eq!(batches_of(rules), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn readers_of_alerts_wait_for_alerting_rules() {
        let rules = "  - {alert: a, expr: up}\n  - {record: b, expr: 'count(ALERTS)'}\n";
        assert_eq!(batches_of(rules), [vec![0], vec![1]]);
    }

    #[test]
    fn equal_names_are_written_in_order() {
        let rules = "  - {record: a, expr: up}\n  - {record: a, expr: down}\n";
        assert_eq!(batches_of(rules), [vec![0], vec![1]]);
    }
}
