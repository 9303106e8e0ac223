//! `thanos.Rules`: rule groups with the state of their rules, a group a frame. The state comes from a
//! [`RulesSource`], which the wiring connects to the ruler.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::number::format_e;
use cairn_model::rules::{
    AlertState, AlertStatus, AlertingStatus, RuleGroupStatus, RuleStatus, RulesFilter, RulesSource,
};
use cairn_promql::parser::parse_selector;
use cairn_proto::thanos as wire;
use cairn_proto::thanos::PartialResponseStrategy as Strategy;
use cairn_proto::thanos::rules_server::Rules;
use tonic::{Request, Response, Status};

use super::convert::{label_set, timestamp};
use super::{Frames, stream_of};

/// Answers from a source of rules.
pub struct RulesApi {
    source: Arc<dyn RulesSource>,
}

impl RulesApi {
    /// Over `source`.
    pub fn new(source: Arc<dyn RulesSource>) -> Self {
        RulesApi { source }
    }
}

#[tonic::async_trait]
impl Rules for RulesApi {
    type RulesStream = Frames<wire::RulesResponse>;

    async fn rules(
        &self,
        request: Request<wire::RulesRequest>,
    ) -> Result<Response<Self::RulesStream>, Status> {
        let groups = self.source.rule_groups(&filter(request.into_inner())?);
        let frame = |g: &RuleGroupStatus| wire::rules_response::Result::Group(group(g));
        Ok(stream_of(groups.iter().map(|g| wire::RulesResponse { result: Some(frame(g)) }).collect()))
    }
}

fn filter(r: wire::RulesRequest) -> Result<RulesFilter, Status> {
    let alerting = match r.r#type() {
        wire::rules_request::Type::All => None,
        wire::rules_request::Type::Alert => Some(true),
        wire::rules_request::Type::Record => Some(false),
    };
    let selectors = r.matcher_string.iter().map(|text| parse_selector(text)).collect::<Result<_, _>>();
    let selectors = selectors.map_err(|e| Status::invalid_argument(e.to_string()))?;
    Ok(RulesFilter { alerting, names: r.rule_name, groups: r.rule_group, files: r.file, selectors })
}

fn group(g: &RuleGroupStatus) -> wire::RuleGroup {
    let strategy = if g.abort_on_partial { Strategy::Abort } else { Strategy::Warn };
    wire::RuleGroup {
        name: g.name.clone(),
        file: g.file.clone(),
        rules: g.rules.iter().map(|r| wire::Rule { result: Some(rule(r, strategy)) }).collect(),
        interval: seconds(g.interval_ms),
        evaluation_duration_seconds: g.duration.as_secs_f64(),
        last_evaluation: Some(timestamp(g.last_evaluation_ms)),
        partial_response_strategy: strategy.into(),
        limit: g.limit as i64,
    }
}

fn rule(r: &RuleStatus, strategy: Strategy) -> wire::rule::Result {
    let labels = Some(pairs(&r.labels));
    let last_error = r.last_error.clone().unwrap_or_default();
    let evaluation_duration_seconds = r.duration.as_secs_f64();
    let last_evaluation = Some(timestamp(r.last_evaluation_ms));
    match &r.alerting {
        None => wire::rule::Result::Recording(wire::RecordingRule {
            name: r.name.clone(),
            query: r.query.clone(),
            labels,
            health: r.health.to_owned(),
            last_error,
            evaluation_duration_seconds,
            last_evaluation,
        }),
        Some(alerting @ AlertingStatus { alerts, .. }) => wire::rule::Result::Alert(wire::Alert {
            state: alerting.state.map_or(wire::AlertState::Unknown, state).into(),
            name: r.name.clone(),
            query: r.query.clone(),
            duration_seconds: seconds(alerting.for_ms),
            labels,
            annotations: Some(pairs(&alerting.annotations)),
            alerts: alerts.iter().map(|a| instance(a, strategy)).collect(),
            health: r.health.to_owned(),
            last_error,
            evaluation_duration_seconds,
            last_evaluation,
            keep_firing_for_seconds: seconds(alerting.keep_firing_for_ms),
        }),
    }
}

fn instance(a: &AlertStatus, strategy: Strategy) -> wire::AlertInstance {
    wire::AlertInstance {
        labels: Some(label_set(a.labels.as_ref())),
        annotations: Some(label_set(a.annotations.as_ref())),
        state: state(a.state).into(),
        active_at: Some(timestamp(Some(a.active_at_ms))),
        value: format_e(a.value),
        partial_response_strategy: strategy.into(),
    }
}

fn state(state: AlertState) -> wire::AlertState {
    match state {
        AlertState::Inactive => wire::AlertState::Inactive,
        AlertState::Pending => wire::AlertState::Pending,
        AlertState::Firing => wire::AlertState::Firing,
    }
}

fn pairs(list: &BTreeMap<String, String>) -> wire::LabelSet {
    let label = |(name, value): (&String, &String)| wire::Label { name: name.clone(), value: value.clone() };
    wire::LabelSet { labels: list.iter().map(label).collect() }
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}
