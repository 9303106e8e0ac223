//! What the APIs see of a group: a snapshot made after each slot, so that no request waits for an evaluation.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::{Labels, TimestampMs};

use super::{Group, GroupKey, GroupState, RuleState};
use crate::alert::{Alert, AlertState};
use crate::file::{PartialResponse, RuleSpec};

/// A group at its last slot.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// File and name.
    pub key: GroupKey,
    /// Time between slots.
    pub interval_ms: i64,
    /// Most series or alerts a rule may make, 0 = no limit.
    pub limit: usize,
    /// What to do when not all data can be read.
    pub partial_response: PartialResponse,
    /// How long the last slot took.
    pub duration: Duration,
    /// The last slot.
    pub last_evaluation_ms: Option<TimestampMs>,
    /// In file order.
    pub rules: Vec<RuleView>,
}

impl Default for GroupView {
    fn default() -> Self {
        GroupView {
            key: GroupKey { file: String::new(), name: String::new() },
            interval_ms: 0,
            limit: 0,
            partial_response: PartialResponse::default(),
            duration: Duration::ZERO,
            last_evaluation_ms: None,
            rules: Vec::new(),
        }
    }
}

/// A rule at its last evaluation.
#[derive(Debug, Clone)]
pub struct RuleView {
    /// As the file has it.
    pub spec: Arc<RuleSpec>,
    /// The expression as the parser prints it.
    pub expr: String,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed.
    pub last_error: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// Its slot.
    pub last_evaluation_ms: Option<TimestampMs>,
    /// Pending and firing alerts.
    pub alerts: Vec<AlertView>,
}

/// A pending or firing alert.
#[derive(Debug, Clone)]
pub struct AlertView {
    /// Identity.
    pub labels: Labels,
    /// State, times, value, annotations.
    pub alert: Alert,
}

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// There was none yet.
    Unknown,
    /// Well.
    Good,
    /// It failed.
    Bad,
}

impl Health {
    /// As the APIs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Health::Unknown => "unknown",
            Health::Good => "ok",
            Health::Bad => "err",
        }
    }
}

impl RuleView {
    /// The strongest state of an alerting rule's alerts; `None` before its first evaluation.
    pub fn state(&self) -> Option<AlertState> {
        self.last_evaluation_ms?;
        Some(self.alerts.iter().map(|a| a.alert.state).max().unwrap_or(AlertState::Inactive))
    }
}

fn health(state: &RuleState) -> Health {
    match (&state.last_error, state.last_evaluation_ms) {
        (Some(_), _) => Health::Bad,
        (None, Some(_)) => Health::Good,
        (None, None) => Health::Unknown,
    }
}

impl Group {
    /// Makes the newest state visible.
    pub(super) fn publish(&self, state: &GroupState, duration: Duration) {
        let rules = self
            .rules
            .iter()
            .zip(&state.rules)
            .map(|(rule, state)| RuleView {
                spec: Arc::new(rule.spec.clone()),
                expr: rule.shown_expr.clone(),
                health: health(state),
                last_error: state.last_error.clone(),
                duration: state.duration,
                last_evaluation_ms: state.last_evaluation_ms,
                alerts: crate::alert::active(&state.alerts)
                    .map(|(labels, alert)| AlertView { labels: labels.clone(), alert: alert.clone() })
                    .collect(),
            })
            .collect();
        self.written.store(Arc::new(state.rules.iter().map(|rule| rule.previous.clone()).collect()));
        self.view.store(Arc::new(GroupView {
            key: self.key.clone(),
            interval_ms: self.grid.interval_ms(),
            limit: self.limit(),
            partial_response: self.partial_response(),
            duration,
            last_evaluation_ms: state.rules.iter().filter_map(|rule| rule.last_evaluation_ms).max(),
            rules,
        }));
    }
}
