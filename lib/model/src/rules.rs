//! Rules as those who list them see them: the seam between who evaluates rules and who shows their state.
//!
//! Everything here is a snapshot; it may be a slot old when it is read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::sample::TimestampMs;

/// Where an alert stands, from weakest to strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// It is over.
    Inactive,
    /// Its series is there, but not yet for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// As the APIs and the `alertstate` label write it.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// A group at its last evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleGroupStatus {
    /// Name in its file.
    pub name: String,
    /// Path of its file.
    pub file: String,
    /// Time between evaluations.
    pub interval_ms: i64,
    /// Most series or alerts a rule may make, 0 = no limit.
    pub limit: usize,
    /// Whether missing data fails an evaluation, rather than giving a warning.
    pub abort_on_partial: bool,
    /// How long the last evaluation took.
    pub duration: Duration,
    /// When it was, if there was one.
    pub last_evaluation_ms: Option<TimestampMs>,
    /// In file order.
    pub rules: Vec<RuleStatus>,
}

/// A rule at its last evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleStatus {
    /// Name of the series, or of the alert.
    pub name: String,
    /// The expression as the parser prints it.
    pub query: String,
    /// Labels that it adds, external ones included; an alert's may be templates.
    pub labels: BTreeMap<String, String>,
    /// `unknown`, `ok` or `err`.
    pub health: &'static str,
    /// Why the last evaluation failed.
    pub last_error: Option<String>,
    /// How long it took.
    pub duration: Duration,
    /// When it was, if there was one.
    pub last_evaluation_ms: Option<TimestampMs>,
    /// What is particular to alerting rules; `None` for recording rules.
    pub alerting: Option<AlertingStatus>,
}

/// What an alerting rule has besides.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertingStatus {
    /// The strongest state of its alerts; `None` before the first evaluation.
    pub state: Option<AlertState>,
    /// How long a series must be there before its alert fires.
    pub for_ms: i64,
    /// How long an alert goes on firing after its series is gone.
    pub keep_firing_for_ms: i64,
    /// Templates.
    pub annotations: BTreeMap<String, String>,
    /// Pending and firing alerts.
    pub alerts: Vec<AlertStatus>,
}

/// A pending or firing alert.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertStatus {
    /// Its identity.
    pub labels: Labels,
    /// Expanded.
    pub annotations: Labels,
    /// Where it stands.
    pub state: AlertState,
    /// When its series was first there.
    pub active_at_ms: TimestampMs,
    /// Value of its series when last seen.
    pub value: f64,
}

/// Which rules are wanted. What is empty does not narrow.
#[derive(Debug, Clone, Default)]
pub struct RulesFilter {
    /// `Some(true)` alerting rules only, `Some(false)` recording rules only.
    pub alerting: Option<bool>,
    /// Names of rules.
    pub names: Vec<String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Paths of files.
    pub files: Vec<String>,
    /// Selectors, of which a rule's labels must match any. Labels that are templates match nothing.
    pub selectors: Vec<Vec<Matcher>>,
}

/// Tells of rules. Implemented by the ruler, and asked by who shows them.
pub trait RulesSource: Send + Sync {
    /// Groups by file and name, each with the rules that `filter` wants. A group that is left without rules is not
    /// listed, unless the filter narrows by kind alone.
    fn rule_groups(&self, filter: &RulesFilter) -> Vec<RuleGroupStatus>;
}
