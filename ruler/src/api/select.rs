//! Which rules and alerts an answer holds.

use std::sync::Arc;

use cairn_model::rules::RulesFilter;
use cairn_model::{Labels, LabelsBuilder, Matcher};

use super::json::{self, AlertsAnswer, RulesAnswer};
use super::params::{InvalidParam, RulesParams};
use crate::group::{GroupKey, GroupView, RuleView};

/// Answers `/api/v1/rules`. Groups come sorted by file and name; those without a matching rule are left out.
///
/// # Errors
/// A page token that belongs to no group any more.
pub fn rules(groups: &[Arc<GroupView>], params: &RulesParams) -> Result<RulesAnswer, InvalidParam> {
    let mut from = 0;
    if let Some(token) = &params.next_token {
        let found = groups.iter().position(|group| page_token(&group.key) == *token);
        from = found.ok_or_else(|| InvalidParam {
            name: "group_next_token".to_owned(),
            reason: format!("invalid group_next_token '{token}'. were rule groups changed?"),
        })?;
    }
    let mut answer = RulesAnswer { groups: Vec::new(), group_next_token: None };
    for group in &groups[from..] {
        let filter = &params.filter;
        if !is_group_wanted(group, filter) {
            continue;
        }
        let wanted = wanted(group, filter, &Labels::empty());
        if wanted.is_empty() && !is_unfiltered_empty(group, filter) {
            continue;
        }
        if params.group_limit.is_some_and(|limit| answer.groups.len() == limit) {
            answer.group_next_token = Some(page_token(&group.key));
            break;
        }
        let rules = wanted.into_iter().map(|rule| json::rule(group, rule, !params.exclude_alerts)).collect();
        answer.groups.push(json::group(group, rules));
    }
    Ok(answer)
}

/// Answers `/api/v1/alerts`.
pub fn alerts(groups: &[Arc<GroupView>]) -> AlertsAnswer {
    let of_group = |group: &Arc<GroupView>| {
        let alerts = group.rules.iter().flat_map(|rule| &rule.alerts);
        alerts.map(|alert| json::alert(group, alert)).collect::<Vec<_>>()
    };
    AlertsAnswer { alerts: groups.iter().flat_map(of_group).collect() }
}

/// A group that has no rules at all is shown when nothing asks for particular ones.
fn is_unfiltered_empty(group: &GroupView, filter: &RulesFilter) -> bool {
    group.rules.is_empty()
        && filter.names.is_empty()
        && filter.selectors.is_empty()
        && filter.alerting.is_none()
}

/// Whether the filter names the group, or no group.
pub fn is_group_wanted(group: &GroupView, filter: &RulesFilter) -> bool {
    listed(&filter.groups, &group.key.name) && listed(&filter.files, &group.key.file)
}

/// The rules of a group that the filter wants; `external` labels count as labels of each rule.
pub fn wanted<'a>(group: &'a GroupView, filter: &RulesFilter, external: &Labels) -> Vec<&'a RuleView> {
    let is_wanted = |rule: &&RuleView| {
        filter.alerting.is_none_or(|alerts| alerts == rule.spec.is_alert())
            && listed(&filter.names, &rule.spec.name)
            && (filter.selectors.is_empty()
                || filter.selectors.iter().any(|matchers| matches_fixed_labels(rule, matchers, external)))
    };
    group.rules.iter().filter(is_wanted).collect()
}

fn listed(names: &[String], name: &str) -> bool {
    names.is_empty() || names.iter().any(|listed| listed == name)
}

/// Labels that are templates have no value before an alert is there, so they match nothing.
fn matches_fixed_labels(rule: &RuleView, matchers: &[Matcher], external: &Labels) -> bool {
    let mut labels = LabelsBuilder::from_labels(external.as_ref());
    let fixed = rule.spec.labels.iter().filter(|(_, value)| !value.contains("{{"));
    fixed.for_each(|(name, value)| {
        labels.set(name, value);
    });
    let labels = labels.build();
    matchers.iter().all(|matcher| matcher.matches_labels(labels.as_ref()))
}

/// Names a group for the next page. Clients must not read anything into it.
fn page_token(key: &GroupKey) -> String {
    let identity = Labels::from_pairs([("file", &key.file), ("name", &key.name)]).unwrap_or_default();
    format!("{:016x}", identity.stable_hash())
}
