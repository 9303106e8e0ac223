//! A running group: its rules, what it remembers, and its loop.
//!
//! Parts: `evaluate` (one rule, once), `tick` (all rules of a group, once), `restore` (`for` over a restart),
//! `driver` (the loop), `view` (what the APIs see).
//!
//! Invariants: a group's slots are evaluated in order and one at a time, so a tick never overlaps itself; nothing is
//! written without asking whether the group is still this node's.

mod driver;
mod evaluate;
mod restore;
mod tick;
pub(crate) mod view;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cairn_model::{Labels, TimestampMs};
use cairn_runtime::Shutdown;
use parking_lot::Mutex;

use crate::alert::Alerts;
use crate::compiled::CompiledRule;
use crate::context::Context;
use crate::dependencies::{self, Touches};
use crate::file::{PartialResponse, RuleGroup};
use crate::schedule::Grid;

pub use view::{AlertView, GroupView, Health, RuleView};

/// File and name: what a group is called everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// Path of the file.
    pub file: String,
    /// Name in the file.
    pub name: String,
}

impl GroupKey {
    /// As metrics label it.
    pub fn metric_label(&self) -> String {
        format!("{};{}", self.file, self.name)
    }

    /// As the control plane assigns it. Long paths are cut to a hash, because names of assignments are bounded.
    fn assignment(&self) -> String {
        format!("rules/{:016x}", self.hash())
    }

    /// Stable everywhere and for ever: offsets on the grid hang on it.
    fn hash(&self) -> u64 {
        Labels::from_pairs([("file", &self.file), ("name", &self.name)])
            .map_or(0, |labels| labels.stable_hash())
    }
}

/// A group as loaded. Immutable; a reload that changes it makes a new one.
pub(crate) struct Group {
    pub key: GroupKey,
    pub source: RuleGroup,
    pub grid: Grid,
    pub query_offset_ms: i64,
    pub rules: Vec<CompiledRule>,
    /// Rules that may run together, batch after batch.
    pub batches: Vec<Vec<usize>>,
    pub context: Arc<Context>,
    pub stop: Shutdown,
    /// What the group remembers, while its loop does not hold it.
    pub parked: Mutex<Option<GroupState>>,
    pub ended: tokio::sync::watch::Sender<bool>,
    pub view: ArcSwap<GroupView>,
    /// Series written at the last slot, by rule.
    pub written: ArcSwap<Vec<Arc<BTreeSet<Labels>>>>,
}

/// What a group remembers from slot to slot.
#[derive(Debug, Default)]
pub(crate) struct GroupState {
    /// The last slot that was evaluated.
    pub last_ms: Option<TimestampMs>,
    /// Slots evaluated since the group started here.
    pub evaluations: u64,
    /// How often restoring failed.
    pub restore_failures: u32,
    /// One a rule, in order.
    pub rules: Vec<RuleState>,
    /// Recording rules that are still to be evaluated at older slots.
    pub redo: BTreeMap<TimestampMs, BTreeSet<usize>>,
    /// Not before this time: after a start, senders are given time to bring what they kept.
    pub redo_not_before_ms: TimestampMs,
    /// Series of rules that a reload took away, to be marked stale at the next slot.
    pub orphans: BTreeSet<Labels>,
}

/// What a rule remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuleState {
    /// Series written at the last slot.
    pub previous: Arc<BTreeSet<Labels>>,
    /// Alerts of an alerting rule.
    pub alerts: Alerts,
    /// Whether `for` states were restored; before that nothing is written about alerts.
    pub restored: bool,
    /// Why the last evaluation failed.
    pub last_error: Option<String>,
    /// Slot of the last evaluation.
    pub last_evaluation_ms: Option<TimestampMs>,
    /// How long it took.
    pub duration: Duration,
}

impl Group {
    pub fn new(
        key: GroupKey,
        source: RuleGroup,
        context: Arc<Context>,
    ) -> Result<Group, cairn_template::TemplateError> {
        let rules = source.rules.iter().cloned().map(CompiledRule::new).collect::<Result<Vec<_>, _>>()?;
        let touches: Vec<Touches> = rules.iter().map(|rule| rule.touches.clone()).collect();
        let interval_ms = source.interval_ms.unwrap_or(context.options.evaluation_interval_ms);
        let group = Group {
            grid: Grid::new(interval_ms.max(1), key.hash()),
            query_offset_ms: source.query_offset_ms.unwrap_or(context.options.query_offset_ms),
            batches: dependencies::batches(&touches),
            stop: context.runtime.tasks.shutdown().child(),
            parked: Mutex::new(None),
            ended: tokio::sync::watch::Sender::new(false),
            view: ArcSwap::from_pointee(GroupView::default()),
            written: ArcSwap::default(),
            key,
            source,
            rules,
            context,
        };
        group.publish(&group.fresh_state(), Duration::ZERO);
        Ok(group)
    }

    pub fn limit(&self) -> usize {
        self.source.limit
    }

    pub fn partial_response(&self) -> PartialResponse {
        self.source.partial_response
    }

    /// Nothing remembered.
    pub fn fresh_state(&self) -> GroupState {
        GroupState { rules: vec![RuleState::default(); self.rules.len()], ..GroupState::default() }
    }

    /// What this group takes over from the one it replaces: rules of equal name and labels go on where they were, in
    /// order when there are several; series of rules that are gone are to be marked stale.
    pub fn inherit(&self, old: &Group, mut from: GroupState) -> GroupState {
        let mut state = self.fresh_state();
        let mut taken = vec![false; old.rules.len()];
        for (new, rule) in self.rules.iter().enumerate() {
            let same = |i: &usize| {
                let before = &old.rules[*i].spec;
                !taken[*i]
                    && before.name == rule.spec.name
                    && before.labels == rule.spec.labels
                    && before.is_alert() == rule.spec.is_alert()
            };
            if let Some(i) = (0..old.rules.len()).find(same) {
                taken[i] = true;
                state.rules[new] = std::mem::take(&mut from.rules[i]);
            }
        }
        let gone = from.rules.iter().flat_map(|rule| rule.previous.iter().cloned());
        state.orphans = from.orphans.into_iter().chain(gone).collect();
        let goes_on = |labels: &Labels| state.rules.iter().any(|rule| rule.previous.contains(labels));
        state.orphans.retain(|labels| !goes_on(labels));
        // Another interval means another grid: what was missed on the old one cannot be made up on the new.
        if self.grid == old.grid {
            state.last_ms = from.last_ms;
        }
        state.evaluations = from.evaluations;
        state
    }
}
