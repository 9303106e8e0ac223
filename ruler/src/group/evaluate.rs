//! One rule at one slot: ask, turn the answer into series or alerts, write, tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_cluster::Token;
use cairn_model::labels::METRIC_NAME;
use cairn_model::sample::Value;
use cairn_model::{Labels, LabelsBuilder, TimestampMs};
use cairn_notify::AlertUpdate;

use super::{Group, RuleState};
use crate::alert::{self, Alert, AlertState, VALID_INTERVALS};
use crate::compiled::{self, CompiledAlert, CompiledRule, UnusableResult, into_vector};
use crate::dependencies::{ALERTS, ALERTS_FOR_STATE};
use crate::error::EvaluationError;
use crate::expand;
use crate::seams::{InstantQuery, VectorSample};

/// How an evaluation stands to the others of its rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// It is the newest: series that are gone since the last one are marked stale.
    Newest,
    /// Newer ones were written already: only its own samples are added.
    Older,
}

impl Group {
    /// Evaluates a rule and keeps in `state` how it went. Gives the number of samples written.
    pub(super) async fn evaluate(
        &self,
        token: Token,
        rule: &CompiledRule,
        state: &mut RuleState,
        slot_ms: TimestampMs,
        order: Order,
    ) -> Result<u64, EvaluationError> {
        let _permit = self.context.evaluations.acquire().await.expect("the semaphore is never closed");
        let clock = &self.context.runtime.clock;
        let start = clock.monotonic();
        let done = match &rule.alerting {
            None => self.evaluate_recording(token, rule, state, slot_ms, order).await,
            Some(alerting) => self.evaluate_alerting(token, rule, alerting, state, slot_ms).await,
        };
        let took = clock.monotonic() - start;
        let metrics = &self.context.metrics;
        let label = self.key.metric_label();
        metrics.evaluations.with_label_values(&[&label]).inc();
        metrics.duration_s.observe(took.as_secs_f64());
        if let Err(error) = &done {
            metrics.failures.with_label_values(&[&label]).inc();
            tracing::warn!(group = %label, rule = %rule.spec.name, slot_ms, error = %error, "cannot evaluate rule");
        }
        if order == Order::Newest {
            state.last_error = done.as_ref().err().map(ToString::to_string);
            state.last_evaluation_ms = Some(slot_ms);
            state.duration = took;
        }
        done
    }

    async fn ask(
        &self,
        rule: &CompiledRule,
        slot_ms: TimestampMs,
    ) -> Result<Vec<VectorSample>, EvaluationError> {
        let evaluated = self.context.parts.evaluator.instant(self.query(rule, slot_ms)).await?;
        if !evaluated.warnings.is_empty() {
            let strategy = self.partial_response().as_str().to_ascii_lowercase();
            self.context.metrics.warnings.with_label_values(&[&strategy]).inc();
            tracing::warn!(rule = %rule.spec.name, warnings = ?evaluated.warnings, "rule evaluated with warnings");
        }
        let mut vector = into_vector(evaluated.value)?;
        for sample in &mut vector {
            sample.labels = self.context.own_labels(std::mem::take(&mut sample.labels));
        }
        Ok(vector)
    }

    fn query(&self, rule: &CompiledRule, slot_ms: TimestampMs) -> InstantQuery {
        InstantQuery {
            expr: rule.spec.expr.clone(),
            ts_ms: slot_ms - self.query_offset_ms,
            tenants: self.context.options.reads.clone(),
            partial_response: self.partial_response(),
        }
    }

    async fn evaluate_recording(
        &self,
        token: Token,
        rule: &CompiledRule,
        state: &mut RuleState,
        slot_ms: TimestampMs,
        order: Order,
    ) -> Result<u64, EvaluationError> {
        let vector = self.ask(rule, slot_ms).await?;
        let series = compiled::record(&rule.spec, vector, self.limit())?;
        self.write_rule(token, state, series, slot_ms, order).await
    }

    /// Writes a rule's series and remembers them for the next slot.
    async fn write_rule(
        &self,
        token: Token,
        state: &mut RuleState,
        series: BTreeMap<Labels, Value>,
        slot_ms: TimestampMs,
        order: Order,
    ) -> Result<u64, EvaluationError> {
        let t_ms = slot_ms - self.query_offset_ms;
        if order == Order::Older {
            return self.write(token, &series, &BTreeSet::new(), t_ms).await;
        }
        let written = self.write(token, &series, &state.previous, t_ms).await;
        let now: BTreeSet<Labels> = series.into_keys().collect();
        match &written {
            // Some of it may be stored: whatever is not seen at the next slot has to be marked then.
            Err(EvaluationError::Append(_) | EvaluationError::Fenced(_)) => {
                Arc::make_mut(&mut state.previous).extend(now)
            }
            _ => state.previous = Arc::new(now),
        }
        written
    }

    async fn evaluate_alerting(
        &self,
        token: Token,
        rule: &CompiledRule,
        alerting: &CompiledAlert,
        state: &mut RuleState,
        slot_ms: TimestampMs,
    ) -> Result<u64, EvaluationError> {
        let vector = self.ask(rule, slot_ms).await?;
        let parts = &self.context.parts;
        let query = self.query(rule, slot_ms);
        let surroundings = &self.context.surroundings;
        let name = &rule.spec.name;
        let seen =
            expand::expand_alerts(name, alerting, vector, surroundings, &*parts.evaluator, &query, slot_ms)
                .await?;
        alert::step(&mut state.alerts, seen, slot_ms, alerting.timing);
        let have = alert::active(&state.alerts).count();
        let limit = self.limit();
        if limit > 0 && have > limit {
            state.alerts.clear();
            return Err(UnusableResult::Limit { limit, have, what: "alerts" }.into());
        }
        self.tell(rule, state, slot_ms);
        if !state.restored {
            return Ok(0);
        }
        let series = alert_series(state);
        self.write_rule(token, state, series, slot_ms, Order::Newest).await
    }

    /// Hands alerts whose time has come to the notifier.
    fn tell(&self, rule: &CompiledRule, state: &mut RuleState, slot_ms: TimestampMs) {
        let options = &self.context.options;
        let valid_for_ms = VALID_INTERVALS * self.grid.interval_ms().max(options.resend_delay_ms);
        let generator_url =
            format!("{}{}", options.external_url, cairn_template::table_link(&rule.shown_expr));
        let mut updates = Vec::new();
        for (labels, alert) in &mut state.alerts {
            if !alert::needs_sending(alert, slot_ms, options.resend_delay_ms) {
                continue;
            }
            alert.last_sent_at_ms = Some(slot_ms);
            updates.push(AlertUpdate {
                labels: with_defaults(labels, &options.external_labels),
                annotations: alert.annotations.clone(),
                starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
                generator_url: generator_url.clone(),
                state: match alert.resolved_at_ms {
                    Some(at_ms) => cairn_notify::AlertState::Resolved { at_ms },
                    None => cairn_notify::AlertState::Firing { valid_for_ms },
                },
            });
        }
        self.context.parts.notifier.submit(&updates);
    }
}

/// Labels with those of `defaults` that they do not have.
fn with_defaults(labels: &Labels, defaults: &Labels) -> Labels {
    let mut builder = LabelsBuilder::from_labels(labels.as_ref());
    for (name, value) in defaults.iter() {
        if labels.get(name).is_none() {
            builder.set(name, value);
        }
    }
    builder.build()
}

/// `ALERTS` and `ALERTS_FOR_STATE` of the alerts that hold.
fn alert_series(state: &RuleState) -> BTreeMap<Labels, Value> {
    let mut series = BTreeMap::new();
    for (labels, alert) in alert::active(&state.alerts) {
        series.insert(alerts_labels(labels, alert), Value::Float(1.0));
        let mut for_state = LabelsBuilder::from_labels(labels.as_ref());
        for_state.set(METRIC_NAME, ALERTS_FOR_STATE);
        series.insert(for_state.build(), Value::Float(alert.active_at_ms.div_euclid(1000) as f64));
    }
    series
}

fn alerts_labels(labels: &Labels, alert: &Alert) -> Labels {
    debug_assert!(alert.state != AlertState::Inactive);
    let mut builder = LabelsBuilder::from_labels(labels.as_ref());
    builder.set(METRIC_NAME, ALERTS).set("alertstate", alert.state.as_str());
    builder.build()
}
