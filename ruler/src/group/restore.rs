//! `for` states over a restart: since when an alert is active stands in its `ALERTS_FOR_STATE` series.

use cairn_model::labels::METRIC_NAME;
use cairn_model::{Matcher, TimestampMs, is_stale};

use super::{Group, GroupState, RuleState};
use crate::alert::{Remembered, restored_active_at};
use crate::compiled::CompiledRule;
use crate::dependencies::ALERTS_FOR_STATE;
use crate::expand::ALERT_NAME;
use crate::seams::EvaluateError;

/// Restoring happens after this many slots: at the first, data may still be coming in, and rules that alerts depend on
/// have not written yet.
const RESTORE_AFTER_EVALUATIONS: u64 = 2;
/// Then it is tried this often before alerts go on without.
const MAX_RESTORE_TRIES: u32 = 5;

impl Group {
    /// Restores what is to be restored, once it is time.
    pub(super) async fn restore(&self, state: &mut GroupState, now_ms: TimestampMs) {
        if state.evaluations < RESTORE_AFTER_EVALUATIONS {
            return;
        }
        let mut failed = false;
        for (rule, rule_state) in self.rules.iter().zip(&mut state.rules) {
            if rule_state.restored {
                continue;
            }
            match self.restore_rule(rule, rule_state, now_ms).await {
                Ok(()) => rule_state.restored = true,
                Err(error) => {
                    failed = true;
                    rule_state.restored = state.restore_failures + 1 >= MAX_RESTORE_TRIES;
                    let rule = &rule.spec.name;
                    tracing::warn!(rule, gives_up = rule_state.restored, error = %error, "cannot restore the `for` state of alerts");
                }
            }
        }
        state.restore_failures += u32::from(failed);
    }

    async fn restore_rule(
        &self,
        rule: &CompiledRule,
        state: &mut RuleState,
        now_ms: TimestampMs,
    ) -> Result<(), EvaluateError> {
        let Some(alerting) = &rule.alerting else { return Ok(()) };
        let options = &self.context.options;
        let (for_ms, grace_ms) = (alerting.timing.for_ms, options.for_grace_period_ms);
        if for_ms < grace_ms || state.alerts.is_empty() {
            return Ok(());
        }
        let mut matchers = vec![
            Matcher::equal(METRIC_NAME, ALERTS_FOR_STATE),
            Matcher::equal(ALERT_NAME, rule.spec.name.as_str()),
        ];
        let fixed = rule.spec.labels.iter().filter(|(_, value)| !value.is_empty() && !value.contains("{{"));
        matchers.extend(fixed.map(|(name, value)| Matcher::equal(name.as_str(), value.as_str())));
        let min_ms = now_ms - options.for_outage_tolerance_ms;
        let last =
            self.context.parts.evaluator.last_samples(&options.reads, &matchers, min_ms, now_ms).await?;
        for sample in last {
            // A stale marker says that the alert had ended; what is active now is a new one.
            if is_stale(sample.value) {
                continue;
            }
            let labels = self.context.own_labels(sample.labels).without_name();
            if let Some(alert) = state.alerts.get_mut(&labels) {
                let active_at_ms = (sample.value * 1000.0) as i64;
                let remembered = Remembered { at_ms: sample.t_ms, active_at_ms };
                alert.active_at_ms = restored_active_at(remembered, now_ms, for_ms, grace_ms);
            }
        }
        Ok(())
    }
}
