//! Rules: evaluates recording and alerting rules over everything that can be read, and leaves no gap.
//!
//! Parts in the order a rule meets them: `files` and [`mod@file`] (from disk to valid rules), `compiled` (ready to run),
//! `schedule` (when), `dependencies` (what may run together), `group` (the running thing), `expand` and [`alert`]
//! (from a result to alerts and through their lives), `ruler` (all groups, reload), [`api`] (what Prometheus' HTTP API
//! says of them). [`seams`] is what others have to bring.
//!
//! Invariants: `schedule`, `dependencies`, `alert` and `compiled` are pure; a slot that was missed or failed for a passing
//! reason is evaluated later at its own timestamp, or counted as lost; a broken rule file changes nothing.
//!
//! Sources: <https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/>,
//! <https://github.com/prometheus/compliance/blob/main/alert_generator/specification.md>.

pub mod alert;
pub mod api;
mod compiled;
mod context;
mod dependencies;
mod engine;
mod error;
mod expand;
pub mod file;
mod files;
mod group;
#[cfg(test)]
mod memory;
mod metrics;
mod progress;
mod ruler;
mod schedule;
pub mod seams;

pub use context::{RulerOptions, RulerParts};
pub use engine::EngineEvaluator;
pub use error::LoadError;
pub use group::{AlertView, GroupKey, GroupView, Health, RuleView};
pub use ruler::{MAX_GROUPS, ReloadState, Ruler};
pub use schedule::MAKE_UP_HORIZON_MS;
