//! One slot of a group: all rules, batch after batch; and slots that are made up.

use cairn_cluster::Token;
use cairn_model::TimestampMs;
use futures::future::join_all;

use super::evaluate::Order;
use super::{Group, GroupState};
use crate::error::EvaluationError;
use crate::schedule::MAKE_UP_HORIZON_MS;

/// Slots that wait to be made up are given up when they are this old: twice the horizon, so that waiting for senders
/// after a start costs none of them.
const REDO_AGE_MS: i64 = 2 * MAKE_UP_HORIZON_MS;

/// Which rules a slot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    /// All of them.
    All,
    /// Recording rules: alerts of the past are of no use to anybody.
    Recording,
}

impl Group {
    /// Evaluates the newest slot. Recording rules that fail for a passing reason are kept to be made up.
    pub(super) async fn tick(
        &self,
        token: Token,
        state: &mut GroupState,
        slot_ms: TimestampMs,
        which: Which,
    ) {
        self.mark_orphans(token, state, slot_ms).await;
        let mut samples = 0;
        for batch in &self.batches {
            let runs =
                batch.iter().filter(|i| which == Which::All || !self.rules[**i].spec.is_alert()).map(|&i| {
                    let mut rule_state = std::mem::take(&mut state.rules[i]);
                    async move {
                        let rule = &self.rules[i];
                        let done = self.evaluate(token, rule, &mut rule_state, slot_ms, Order::Newest).await;
                        (i, rule_state, done)
                    }
                });
            for (i, rule_state, done) in join_all(runs).await {
                state.rules[i] = rule_state;
                samples += done.as_ref().copied().unwrap_or(0);
                if done.is_err_and(|e| e.is_transient()) && !self.rules[i].spec.is_alert() {
                    state.redo.entry(slot_ms).or_default().insert(i);
                }
            }
        }
        self.context
            .metrics
            .group_last_samples
            .with_label_values(&[&self.key.metric_label()])
            .set(samples as i64);
    }

    /// Evaluates what was missed or failed at older slots, the oldest first. What fails again waits on, until it is too
    /// old; a rule is not tried at a newer slot while it fails at an older one, because stores that are away stay away.
    pub(super) async fn make_up(&self, token: Token, state: &mut GroupState, now_ms: TimestampMs) {
        if state.redo.is_empty() || now_ms < state.redo_not_before_ms {
            return;
        }
        let label = self.key.metric_label();
        let metrics = &self.context.metrics;
        let mut waiting = std::mem::take(&mut state.redo);
        let kept = waiting.split_off(&(now_ms - REDO_AGE_MS));
        let given_up: usize = waiting.values().map(|rules| rules.len()).sum();
        metrics.lost.with_label_values(&[&label]).inc_by(given_up as u64);
        let mut failing = std::collections::BTreeSet::new();
        for (slot_ms, rules) in kept {
            for i in self.batches.iter().flatten().copied().filter(|i| rules.contains(i)) {
                if failing.contains(&i) || self.stop.has_begun() {
                    state.redo.entry(slot_ms).or_default().insert(i);
                    continue;
                }
                let mut rule_state = std::mem::take(&mut state.rules[i]);
                let done = self.evaluate(token, &self.rules[i], &mut rule_state, slot_ms, Order::Older).await;
                state.rules[i] = rule_state;
                match done {
                    Ok(_) => metrics.made_up.with_label_values(&[&label]).inc(),
                    Err(error) if error.is_transient() => {
                        failing.insert(i);
                        state.redo.entry(slot_ms).or_default().insert(i);
                    }
                    Err(_) => metrics.lost.with_label_values(&[&label]).inc(),
                }
            }
        }
    }

    /// Marks series as stale after the group is gone.
    pub(crate) async fn end(
        &self,
        series: std::collections::BTreeSet<cairn_model::Labels>,
        now_ms: TimestampMs,
    ) {
        let coordinator = &self.context.parts.coordinator;
        let label = self.key.metric_label();
        let token = match coordinator.assign(&self.assignment()).await {
            Ok(token) => token,
            Err(error) => {
                tracing::warn!(group = %label, error = %error, "cannot end the series of a group that is gone");
                return;
            }
        };
        let nothing = std::collections::BTreeMap::new();
        if let Err(error) = self.write(token, &nothing, &series, now_ms - self.query_offset_ms).await {
            tracing::warn!(group = %label, error = %error, "cannot end the series of a group that is gone");
        }
        // Nobody runs the group: a token that stays behind does no harm.
        let _ = coordinator.release(&self.assignment(), token).await;
    }

    fn assignment(&self) -> String {
        self.key.assignment()
    }

    /// Ends series of rules that a reload took away.
    async fn mark_orphans(&self, token: Token, state: &mut GroupState, slot_ms: TimestampMs) {
        if state.orphans.is_empty() {
            return;
        }
        let nothing = std::collections::BTreeMap::new();
        let marked = self.write(token, &nothing, &state.orphans, slot_ms - self.query_offset_ms).await;
        if !matches!(marked, Err(EvaluationError::Append(_))) {
            state.orphans.clear();
        }
    }
}
