//! Rule files: Prometheus' format with Thanos' `partial_response_strategy`.
//!
//! `yaml` reads a document strictly and keeps positions, `validate` turns it into [`RuleGroup`]s or says everything
//! that is wrong with it, [`check`] reports on files the way `promtool check rules` does.
//!
//! Invariant: a [`RuleGroup`] is valid: every expression parses, every template parses, every name is one.
//!
//! Source: <https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/>.

pub mod check;
mod problem;
mod validate;
mod yaml;

use std::collections::BTreeMap;

use cairn_promql::parser::Features;

pub use problem::{Place, Problem};
pub use validate::parse_rule_file;

/// How a rule file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions {
    /// Keys that do not exist are fine.
    pub ignore_unknown_fields: bool,
    /// Experimental parts of the language that expressions may use.
    pub features: Features,
}

/// A group of a rule file.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleGroup {
    /// Unique in its file.
    pub name: String,
    /// Time between evaluations; `None`: the ruler's.
    pub interval_ms: Option<i64>,
    /// How far behind its timestamp an evaluation looks and writes; `None`: the ruler's.
    pub query_offset_ms: Option<i64>,
    /// Most series or alerts a rule may make, 0 = no limit.
    pub limit: usize,
    /// What to do when not all data can be read.
    pub partial_response: PartialResponse,
    /// In file order. Group labels are merged in.
    pub rules: Vec<RuleSpec>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSpec {
    /// Name of the series, or of the alert.
    pub name: String,
    /// PromQL.
    pub expr: String,
    /// Labels to add; an alert's are templates. An empty value removes a label.
    pub labels: BTreeMap<String, String>,
    /// What the rule is for.
    pub kind: RuleKind,
}

/// What a rule is for.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleKind {
    /// Writes its result as series.
    Recording,
    /// Turns its result into alerts.
    Alerting {
        /// How long a series must be there before its alert fires.
        for_ms: i64,
        /// How long an alert goes on firing after its series is gone.
        keep_firing_for_ms: i64,
        /// Templates.
        annotations: BTreeMap<String, String>,
    },
}

/// Thanos' choice for a group whose data is not all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PartialResponse {
    /// The evaluation fails.
    #[default]
    Abort,
    /// It goes on and warns.
    Warn,
}

impl PartialResponse {
    /// As the APIs write it.
    pub fn as_str(self) -> &'static str {
        match self {
            PartialResponse::Abort => "ABORT",
            PartialResponse::Warn => "WARN",
        }
    }
}

impl RuleSpec {
    /// Whether this is an alerting rule.
    pub fn is_alert(&self) -> bool {
        matches!(self.kind, RuleKind::Alerting { .. })
    }
}

#[cfg(test)]
mod tests;
