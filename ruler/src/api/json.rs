//! The shapes of the answers. Durations are seconds; times are RFC 3339; an alert's value is a text like `1e+00`.

use std::collections::BTreeMap;
use std::io;

use cairn_model::datetime::rfc3339_short;
use cairn_model::number::{format_api, format_e};
use cairn_model::{Labels, TimestampMs};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::file::RuleKind;
use crate::group::{AlertView, GroupView, RuleView};

/// What Go prints for a time that never was.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// An answer that is no error.
#[derive(Serialize)]
struct Success<'a, T> {
    status: &'static str,
    data: &'a T,
}

/// `data` in Prometheus' envelope.
pub fn success(data: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut json = serde_json::Serializer::with_formatter(&mut out, ApiNumbers);
    Success { status: "success", data }.serialize(&mut json).expect("the answers' keys are texts");
    out
}

/// JSON with numbers as Prometheus' API writes them.
struct ApiNumbers;

impl Formatter for ApiNumbers {
    fn write_f64<W: ?Sized + io::Write>(&mut self, out: &mut W, v: f64) -> io::Result<()> {
        out.write_all(format_api(v).as_bytes())
    }
}

/// `data` of `/api/v1/rules`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the field names are the API's
pub struct RulesAnswer {
    pub groups: Vec<GroupJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_next_token: Option<String>,
}

/// A group.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the field names are the API's
pub struct GroupJson {
    pub name: String,
    pub file: String,
    pub rules: Vec<RuleJson>,
    pub interval: f64,
    pub limit: usize,
    pub evaluation_time: f64,
    pub last_evaluation: String,
    pub partial_response_strategy: &'static str,
}

/// A rule of either kind.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[allow(missing_docs)] // the field names are the API's
pub enum RuleJson {
    #[serde(rename_all = "camelCase")]
    Alerting {
        state: &'static str,
        name: String,
        query: String,
        duration: f64,
        keep_firing_for: f64,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
        alerts: Vec<AlertJson>,
        health: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_error: Option<String>,
        evaluation_time: f64,
        last_evaluation: String,
    },
    #[serde(rename_all = "camelCase")]
    Recording {
        name: String,
        query: String,
        labels: BTreeMap<String, String>,
        health: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        last_error: Option<String>,
        evaluation_time: f64,
        last_evaluation: String,
    },
}

/// An alert that holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the field names are the API's
pub struct AlertJson {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<String>,
    pub value: String,
    pub partial_response_strategy: &'static str,
}

/// `data` of `/api/v1/alerts`.
#[derive(Debug, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct AlertsAnswer {
    pub alerts: Vec<AlertJson>,
}

/// `data` of `/api/v1/alertmanagers`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the field names are the API's
pub struct AlertmanagersAnswer {
    pub active_alertmanagers: Vec<AlertmanagerJson>,
    pub dropped_alertmanagers: Vec<AlertmanagerJson>,
}

/// An Alertmanager.
#[derive(Debug, Serialize)]
#[allow(missing_docs)] // the field names are the API's
pub struct AlertmanagerJson {
    pub url: String,
}

/// A group with some of its rules.
pub fn group(view: &GroupView, rules: Vec<RuleJson>) -> GroupJson {
    GroupJson {
        name: view.key.name.clone(),
        file: view.key.file.clone(),
        rules,
        interval: seconds(view.interval_ms),
        limit: view.limit,
        evaluation_time: view.duration.as_secs_f64(),
        last_evaluation: time(view.last_evaluation_ms),
        partial_response_strategy: view.partial_response.as_str(),
    }
}

/// A rule of a group.
pub fn rule(group: &GroupView, view: &RuleView, with_alerts: bool) -> RuleJson {
    let labels: BTreeMap<String, String> =
        view.spec.labels.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.clone(), v.clone())).collect();
    let evaluation_time = view.duration.as_secs_f64();
    let last_evaluation = time(view.last_evaluation_ms);
    match &view.spec.kind {
        RuleKind::Recording => RuleJson::Recording {
            name: view.spec.name.clone(),
            query: view.expr.clone(),
            labels,
            health: view.health.as_str(),
            last_error: view.last_error.clone(),
            evaluation_time,
            last_evaluation,
        },
        RuleKind::Alerting { for_ms, keep_firing_for_ms, annotations } => RuleJson::Alerting {
            state: view.state().map_or("unknown", |state| state.as_str()),
            name: view.spec.name.clone(),
            query: view.expr.clone(),
            duration: seconds(*for_ms),
            keep_firing_for: seconds(*keep_firing_for_ms),
            labels,
            annotations: annotations.clone(),
            alerts: match with_alerts {
                true => view.alerts.iter().map(|a| alert(group, a)).collect(),
                false => Vec::new(),
            },
            health: view.health.as_str(),
            last_error: view.last_error.clone(),
            evaluation_time,
            last_evaluation,
        },
    }
}

/// An alert of a group's rule.
pub fn alert(group: &GroupView, view: &AlertView) -> AlertJson {
    AlertJson {
        labels: pairs(&view.labels),
        annotations: pairs(&view.alert.annotations),
        state: view.alert.state.as_str(),
        active_at: Some(rfc3339_short(view.alert.active_at_ms)),
        keep_firing_since: view.alert.keep_firing_since_ms.map(rfc3339_short),
        value: format_e(view.alert.value),
        partial_response_strategy: group.partial_response.as_str(),
    }
}

/// Alertmanagers by endpoint.
pub fn alertmanagers(endpoints: Vec<String>) -> AlertmanagersAnswer {
    AlertmanagersAnswer {
        active_alertmanagers: endpoints.into_iter().map(|url| AlertmanagerJson { url }).collect(),
        dropped_alertmanagers: Vec::new(),
    }
}

fn pairs(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn time(t_ms: Option<TimestampMs>) -> String {
    t_ms.map_or_else(|| NEVER.to_owned(), rfc3339_short)
}
