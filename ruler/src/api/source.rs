//! The ruler as a [`RulesSource`]: the state of its rules for front ends of others, such as Thanos' Rules API.

use std::collections::BTreeMap;

use cairn_model::Labels;
use cairn_model::rules::{
    AlertStatus, AlertingStatus, RuleGroupStatus, RuleStatus, RulesFilter, RulesSource,
};

use super::select::{is_group_wanted, wanted};
use crate::file::{PartialResponse, RuleKind};
use crate::group::{AlertView, GroupView, RuleView};
use crate::ruler::Ruler;

impl RulesSource for Ruler {
    fn rule_groups(&self, filter: &RulesFilter) -> Vec<RuleGroupStatus> {
        let external = self.implied_labels();
        let by_kind_alone = filter.names.is_empty() && filter.selectors.is_empty();
        let groups = self.groups();
        let groups = groups.iter().filter(|group| is_group_wanted(group, filter));
        let statuses = groups.map(|group| status(group, &wanted(group, filter, external), external));
        statuses.filter(|group| by_kind_alone || !group.rules.is_empty()).collect()
    }
}

fn status(group: &GroupView, rules: &[&RuleView], external: &Labels) -> RuleGroupStatus {
    RuleGroupStatus {
        name: group.key.name.clone(),
        file: group.key.file.clone(),
        interval_ms: group.interval_ms,
        limit: group.limit,
        abort_on_partial: group.partial_response == PartialResponse::Abort,
        duration: group.duration,
        last_evaluation_ms: group.last_evaluation_ms,
        rules: rules.iter().map(|rule| rule_status(rule, external)).collect(),
    }
}

/// Readers of many rulers tell equal rules apart by their external labels, so those are shown as labels of the rule;
/// what the rule says itself wins.
fn rule_status(rule: &RuleView, external: &Labels) -> RuleStatus {
    let mut labels: BTreeMap<String, String> =
        external.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    labels.extend(rule.spec.labels.clone());
    labels.retain(|_, value| !value.is_empty());
    let alerting = match &rule.spec.kind {
        RuleKind::Recording => None,
        RuleKind::Alerting { for_ms, keep_firing_for_ms, annotations } => Some(AlertingStatus {
            state: rule.state(),
            for_ms: *for_ms,
            keep_firing_for_ms: *keep_firing_for_ms,
            annotations: annotations.clone(),
            alerts: rule.alerts.iter().map(alert_status).collect(),
        }),
    };
    RuleStatus {
        name: rule.spec.name.clone(),
        query: rule.expr.clone(),
        labels,
        health: rule.health.as_str(),
        last_error: rule.last_error.clone(),
        duration: rule.duration,
        last_evaluation_ms: rule.last_evaluation_ms,
        alerting,
    }
}

fn alert_status(view: &AlertView) -> AlertStatus {
    AlertStatus {
        labels: view.labels.clone(),
        annotations: view.alert.annotations.clone(),
        state: view.alert.state,
        active_at_ms: view.alert.active_at_ms,
        value: view.alert.value,
    }
}
