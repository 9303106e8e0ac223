//! The life of alerts: a pure function of what was, what was seen, and when.
//!
//! new → pending → firing → resolved. A pending alert whose series is gone is forgotten; a firing one resolves, at once or
//! after `keep_firing_for`, and is remembered for [`RESOLVED_RETENTION_MS`] so that its end can be told. A resolved alert
//! whose series is back is a new alert.
//!
//! Source: the states of <https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/>.

use std::collections::BTreeMap;

pub use cairn_model::rules::AlertState;
use cairn_model::{Labels, TimestampMs};

/// Resolved alerts are remembered this long.
pub const RESOLVED_RETENTION_MS: i64 = 15 * 60 * 1000;
/// A firing alert that was told to an Alertmanager is over after this many intervals without news.
pub const VALID_INTERVALS: i64 = 4;

/// One alert of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Where it stands.
    pub state: AlertState,
    /// Expanded annotations.
    pub annotations: Labels,
    /// Value of its series when last seen.
    pub value: f64,
    /// When its series was first there.
    pub active_at_ms: TimestampMs,
    /// When it began to fire.
    pub fired_at_ms: Option<TimestampMs>,
    /// When it was over.
    pub resolved_at_ms: Option<TimestampMs>,
    /// Since when it fires only because of `keep_firing_for`.
    pub keep_firing_since_ms: Option<TimestampMs>,
    /// When it was last handed to the notifier.
    pub last_sent_at_ms: Option<TimestampMs>,
}

/// Alerts of a rule by their labels.
pub type Alerts = BTreeMap<Labels, Alert>;

/// An alert as one evaluation sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Expanded annotations.
    pub annotations: Labels,
    /// Value of the series.
    pub value: f64,
}

/// What a rule says about time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timing {
    /// `for`
    pub for_ms: i64,
    /// `keep_firing_for`
    pub keep_firing_for_ms: i64,
}

/// Takes one evaluation in. `ts` must not go back.
pub fn step(alerts: &mut Alerts, seen: BTreeMap<Labels, Seen>, ts: TimestampMs, timing: Timing) {
    alerts.retain(|labels, alert| seen.contains_key(labels) || keep_unseen(alert, ts, timing));
    for (labels, seen) in seen {
        match alerts.get_mut(&labels) {
            Some(alert) if alert.state != AlertState::Inactive => {
                alert.value = seen.value;
                alert.annotations = seen.annotations;
                alert.keep_firing_since_ms = None;
            }
            _ => {
                alerts.insert(labels, new_alert(seen, ts));
            }
        }
    }
    for alert in alerts.values_mut() {
        match alert.state {
            AlertState::Pending if ts - alert.active_at_ms >= timing.for_ms => {
                alert.state = AlertState::Firing;
                alert.fired_at_ms = Some(ts);
            }
            // `for` was raised by a reload: the alert has to wait once more.
            AlertState::Firing
                if ts - alert.active_at_ms < timing.for_ms && alert.keep_firing_since_ms.is_none() =>
            {
                alert.state = AlertState::Pending;
                alert.fired_at_ms = None;
            }
            _ => {}
        }
    }
}

fn new_alert(seen: Seen, ts: TimestampMs) -> Alert {
    Alert {
        state: AlertState::Pending,
        annotations: seen.annotations,
        value: seen.value,
        active_at_ms: ts,
        fired_at_ms: None,
        resolved_at_ms: None,
        keep_firing_since_ms: None,
        last_sent_at_ms: None,
    }
}

/// What becomes of an alert whose series is gone; false forgets it.
fn keep_unseen(alert: &mut Alert, ts: TimestampMs, timing: Timing) -> bool {
    match alert.state {
        AlertState::Pending => false,
        AlertState::Inactive => alert.resolved_at_ms.is_some_and(|at| ts - at <= RESOLVED_RETENTION_MS),
        AlertState::Firing => {
            if timing.keep_firing_for_ms > 0 {
                let since = *alert.keep_firing_since_ms.get_or_insert(ts);
                if ts - since < timing.keep_firing_for_ms {
                    return true;
                }
            }
            alert.state = AlertState::Inactive;
            alert.resolved_at_ms = Some(ts);
            alert.keep_firing_since_ms = None;
            true
        }
    }
}

/// Alerts that hold: pending and firing ones.
pub fn active(alerts: &Alerts) -> impl Iterator<Item = (&Labels, &Alert)> {
    alerts.iter().filter(|(_, alert)| alert.state != AlertState::Inactive)
}

/// Whether an alert is to be handed to the notifier: its end was not told yet, or it is time to repeat it.
pub fn needs_sending(alert: &Alert, ts: TimestampMs, resend_ms: i64) -> bool {
    if alert.state == AlertState::Pending {
        return false;
    }
    match (alert.last_sent_at_ms, alert.resolved_at_ms) {
        (None, _) => true,
        (Some(sent), Some(resolved)) if resolved > sent => true,
        (Some(sent), _) => sent + resend_ms < ts,
    }
}

/// The newest sample of an alert's `ALERTS_FOR_STATE` before a restart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remembered {
    /// When it was written.
    pub at_ms: TimestampMs,
    /// What it said: when the alert had become active.
    pub active_at_ms: TimestampMs,
}

/// When an alert counts as active after a restart, given that the ruler was away from the remembered sample to `now`.
///
/// An alert that had waited long enough fires at once; one that had less than `grace_ms` to wait waits that long, so that
/// data can come in first; for all others the time away does not count.
pub fn restored_active_at(
    remembered: Remembered,
    now_ms: TimestampMs,
    for_ms: i64,
    grace_ms: i64,
) -> TimestampMs {
    let waited = remembered.at_ms - remembered.active_at_ms;
    let remaining = for_ms - waited;
    if remaining <= 0 {
        remembered.active_at_ms
    } else if remaining < grace_ms {
        now_ms + grace_ms - for_ms
    } else {
        remembered.active_at_ms + (now_ms - remembered.at_ms)
    }
}

#[cfg(test)]
mod tests;
