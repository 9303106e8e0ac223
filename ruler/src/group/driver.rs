//! The loop of a group: take the group, wait for a slot, evaluate it, remember how far it got.

use std::sync::Arc;
use std::time::Duration;

use cairn_cluster::{ClusterError, Token};
use cairn_model::TimestampMs;

use super::tick::Which;
use super::{Group, GroupState};
use crate::progress::Progress;
use crate::schedule::MAKE_UP_HORIZON_MS;

/// Longest single sleep: wall time may jump while a sleep, which is monotonic, goes on.
const MAX_SLEEP: Duration = Duration::from_secs(5);
/// Pause between tries to take a group.
const ASSIGN_PAUSE: Duration = Duration::from_secs(1);
/// After a start, slots missed before it are made up no sooner than this, so that senders can bring what they kept
/// while the node was away. Judgement: senders back off for up to 5 s between tries, and have a backlog to send.
const MAKE_UP_DELAY_MS: i64 = 30_000;

impl Group {
    /// Runs until the group is stopped or somebody else's. What it remembers is parked at the end.
    pub(crate) async fn run(self: Arc<Self>, progress: Arc<Progress>) {
        let mut state = self.parked.lock().take().unwrap_or_else(|| self.fresh_state());
        if let Some(token) = self.take_assignment().await {
            self.drive(token, &mut state, &progress).await;
            let released = self.context.parts.coordinator.release(&self.key.assignment(), token).await;
            if let Err(error) = released {
                tracing::warn!(group = %self.key.metric_label(), error = %error, "cannot give the group back");
            }
        }
        *self.parked.lock() = Some(state);
        self.ended.send_replace(true);
    }

    async fn take_assignment(&self) -> Option<Token> {
        while !self.stop.has_begun() {
            match self.context.parts.coordinator.assign(&self.key.assignment()).await {
                Ok(token) => return Some(token),
                Err(error) => {
                    tracing::warn!(group = %self.key.metric_label(), error = %error, "cannot take the group, will try again");
                    self.pause(ASSIGN_PAUSE).await;
                }
            }
        }
        None
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.stop.begun() => {}
            () = self.context.runtime.clock.sleep(pause) => {}
        }
    }

    async fn drive(&self, token: Token, state: &mut GroupState, progress: &Progress) {
        let clock = self.context.runtime.clock.clone();
        let label = self.key.metric_label();
        let metrics = &self.context.metrics;
        metrics.group_interval_s.with_label_values(&[&label]).set(self.grid.interval_ms() as f64 / 1000.0);
        metrics.group_rules.with_label_values(&[&label]).set(self.rules.len() as i64);
        self.begin(state, progress, clock.now_ms());
        while !self.stop.has_begun() {
            let now_ms = clock.now_ms();
            let last_ms = state.last_ms;
            if last_ms.is_some_and(|last| last > now_ms + MAKE_UP_HORIZON_MS) {
                tracing::warn!(group = %label, "the clock went back by more than ten minutes: the group starts over");
                state.last_ms = Some(self.grid.slot_at(now_ms));
            }
            if let Some(plan) = self.grid.plan(state.last_ms, now_ms) {
                if self.is_fenced(token) {
                    tracing::warn!(group = %label, "another holder took the group over");
                    return;
                }
                metrics.iterations.with_label_values(&[&label]).inc_by(plan.missed + 1);
                metrics.missed.with_label_values(&[&label]).inc_by(plan.missed);
                let recording = self.rules.iter().filter(|rule| !rule.spec.is_alert()).count() as u64;
                metrics.lost.with_label_values(&[&label]).inc_by(plan.lost * recording);
                for slot_ms in self.grid.make_up(&plan) {
                    self.tick(token, state, slot_ms, Which::Recording).await;
                    metrics.made_up.with_label_values(&[&label]).inc_by(recording);
                    self.reached(state, progress, slot_ms);
                    if self.stop.has_begun() {
                        return;
                    }
                }
                self.evaluate_slot(token, state, plan.current_ms).await;
                self.reached(state, progress, plan.current_ms);
            }
            self.make_up(token, state, clock.now_ms()).await;
            let wait_ms = (self.grid.slot_after(clock.now_ms()) - clock.now_ms()).max(1) as u64;
            self.pause(Duration::from_millis(wait_ms).min(MAX_SLEEP)).await;
        }
    }

    /// The first slot is the next one; slots missed while nobody ran the group are kept to be made up.
    fn begin(&self, state: &mut GroupState, progress: &Progress, now_ms: TimestampMs) {
        let newest = self.grid.slot_at(now_ms);
        if state.last_ms.is_some() {
            return; // it goes on after a reload
        }
        if let Some(reached_ms) = progress.reached(&self.key)
            && let Some(plan) = self.grid.plan(Some(reached_ms), now_ms)
            && self.grid.slot_at(reached_ms) == reached_ms
        {
            let recording = (0..self.rules.len()).filter(|i| !self.rules[*i].spec.is_alert());
            let recording: std::collections::BTreeSet<usize> = recording.collect();
            // The newest slot passed while nobody was there: it is one of the missed.
            let missed = self.grid.make_up(&plan).chain([plan.current_ms]);
            if !recording.is_empty() {
                state.redo = missed.map(|slot_ms| (slot_ms, recording.clone())).collect();
            }
            state.redo_not_before_ms = now_ms + MAKE_UP_DELAY_MS;
            let lost = plan.lost * recording.len() as u64;
            self.context.metrics.lost.with_label_values(&[&self.key.metric_label()]).inc_by(lost);
        }
        state.last_ms = Some(newest);
    }

    async fn evaluate_slot(&self, token: Token, state: &mut GroupState, slot_ms: TimestampMs) {
        let clock = &self.context.runtime.clock;
        let start = clock.monotonic();
        self.tick(token, state, slot_ms, Which::All).await;
        state.evaluations += 1;
        self.restore(state, slot_ms).await;
        let took = clock.monotonic() - start;
        let label = self.key.metric_label();
        let metrics = &self.context.metrics;
        metrics.group_duration_s.observe(took.as_secs_f64());
        metrics.group_last_duration_s.with_label_values(&[&label]).set(took.as_secs_f64());
        metrics.group_last_evaluation_s.with_label_values(&[&label]).set(slot_ms as f64 / 1000.0);
        self.publish(state, took);
    }

    fn reached(&self, state: &mut GroupState, progress: &Progress, slot_ms: TimestampMs) {
        state.last_ms = Some(slot_ms);
        progress.advance(&self.key, slot_ms);
    }

    fn is_fenced(&self, token: Token) -> bool {
        let checked = self.context.parts.coordinator.check(&self.key.assignment(), token);
        matches!(checked, Err(ClusterError::Fenced { .. }))
    }
}
