use proptest::prelude::*;

use super::*;

const MIN: i64 = 60_000;

fn labels(n: u8) -> Labels {
    Labels::from_pairs([("alertname", "A".to_owned()), ("n", n.to_string())]).unwrap()
}

fn seen(ns: &[u8]) -> BTreeMap<Labels, Seen> {
    ns.iter().map(|n| (labels(*n), Seen { annotations: Labels::empty(), value: 1.0 })).collect()
}

/// States of alert 0 when its series is there (`x`) or not (`.`), once a minute.
fn course(pattern: &str, timing: Timing) -> String {
    let mut alerts = Alerts::new();
    let mut states = String::new();
    for (minute, there) in pattern.chars().enumerate() {
        step(&mut alerts, seen(if there == 'x' { &[0] } else { &[] }), minute as i64 * MIN, timing);
        states.push(match alerts.get(&labels(0)).map(|a| a.state) {
            None => '-',
            Some(AlertState::Inactive) => 'i',
            Some(AlertState::Pending) => 'p',
            Some(AlertState::Firing) => 'f',
        });
    }
    states
}

fn timing(for_min: i64, keep_min: i64) -> Timing {
    Timing { for_ms: for_min * MIN, keep_firing_for_ms: keep_min * MIN }
}

#[test]
fn courses_of_an_alert() {
    for (pattern, for_min, keep_min, want) in [
        ("xx..", 0, 0, "ffii"),
        ("xxxx.", 2, 0, "ppffi"),
        ("xx.xx", 2, 0, "pp-pp"),
        ("x.x", 0, 0, "fif"),
        ("x....", 0, 2, "fffii"),
        ("x.x...", 0, 2, "fffffi"),
        ("x.x.x", 0, 1, "fffff"),
        (".", 0, 0, "-"),
    ] {
        assert_eq!(
            course(pattern, timing(for_min, keep_min)),
            want,
            "{pattern} for {for_min} keep {keep_min}"
        );
    }
}

#[test]
fn a_resolved_alert_is_forgotten_after_a_quarter_of_an_hour() {
    let pattern = format!("x{}", ".".repeat(20));
    assert_eq!(course(&pattern, timing(0, 0)), format!("f{}----", "i".repeat(16)));
}

#[test]
fn raising_for_makes_a_firing_alert_wait_again() {
    let mut alerts = Alerts::new();
    step(&mut alerts, seen(&[0]), 0, timing(0, 0));
    step(&mut alerts, seen(&[0]), MIN, timing(5, 0));
    assert_eq!(alerts[&labels(0)].state, AlertState::Pending);
    step(&mut alerts, seen(&[0]), 5 * MIN, timing(5, 0));
    assert_eq!(alerts[&labels(0)].state, AlertState::Firing);
}

#[test]
fn sending_follows_the_resend_delay_and_tells_an_end_at_once() {
    let mut alerts = Alerts::new();
    step(&mut alerts, seen(&[0]), 0, timing(1, 0));
    assert!(!needs_sending(&alerts[&labels(0)], 0, MIN), "pending");
    step(&mut alerts, seen(&[0]), MIN, timing(1, 0));
    let alert = alerts.get_mut(&labels(0)).unwrap();
    assert!(needs_sending(alert, MIN, MIN));
    alert.last_sent_at_ms = Some(MIN);
    assert!(!needs_sending(alert, 2 * MIN, MIN));
    assert!(needs_sending(alert, 2 * MIN + 1, MIN));
    step(&mut alerts, seen(&[]), 2 * MIN, timing(1, 0));
    let alert = alerts.get_mut(&labels(0)).unwrap();
    assert!(needs_sending(alert, 2 * MIN, MIN), "resolved");
    alert.last_sent_at_ms = Some(2 * MIN);
    assert!(!needs_sending(alert, 2 * MIN, MIN));
}

#[test]
fn restoring_counts_only_the_time_the_ruler_was_there() {
    let grace = 10 * MIN;
    for (waited, for_min, away, want_wait_from_now) in [
        (30, 30, 5, None),              // had fired
        (40, 30, 5, None),              // had fired long ago
        (25, 30, 5, Some(grace / MIN)), // five minutes left: gets the grace period
        (10, 30, 5, Some(20)),          // twenty minutes left stay twenty
        (10, 30, 50, Some(20)),         // however long it was away
    ] {
        let now = 1_000 * MIN;
        let at = now - away * MIN;
        let remembered = Remembered { at_ms: at, active_at_ms: at - waited * MIN };
        let active_at = restored_active_at(remembered, now, for_min * MIN, grace);
        match want_wait_from_now {
            None => assert!(now - active_at >= for_min * MIN),
            Some(wait) => assert_eq!(active_at + for_min * MIN - now, wait * MIN),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes and goes: the states mean what they say.
    #[test]
    fn states_agree_with_history(
        rounds in prop::collection::vec(prop::collection::btree_set(0..3u8, 0..3), 1..60),
        for_min in 0..5i64,
        keep_min in 0..4i64,
    ) {
        let timing = timing(for_min, keep_min);
        let mut alerts = Alerts::new();
        let mut firing_since: BTreeMap<Labels, i64> = BTreeMap::new();
        for (minute, there) in rounds.iter().enumerate() {
            let ts = minute as i64 * MIN;
            let there: Vec<u8> = there.iter().copied().collect();
            step(&mut alerts, seen(&there), ts, timing);
            for n in &there {
                prop_assert!(alerts[&labels(*n)].state != AlertState::Inactive, "what is seen is active");
            }
            for (labels, alert) in &alerts {
                match alert.state {
                    AlertState::Pending => {
                        prop_assert!(ts - alert.active_at_ms < timing.for_ms);
                        prop_assert!(alert.fired_at_ms.is_none() && alert.resolved_at_ms.is_none());
                        firing_since.remove(labels);
                    }
                    AlertState::Firing => {
                        prop_assert!(alert.fired_at_ms.unwrap() - alert.active_at_ms >= timing.for_ms);
                        prop_assert!(alert.resolved_at_ms.is_none());
                        let since = *firing_since.entry(labels.clone()).or_insert(alert.fired_at_ms.unwrap());
                        prop_assert_eq!(since, alert.fired_at_ms.unwrap(), "one episode has one start");
                    }
                    AlertState::Inactive => {
                        prop_assert!(ts - alert.resolved_at_ms.unwrap() <= RESOLVED_RETENTION_MS);
                        prop_assert!(alert.resolved_at_ms >= alert.fired_at_ms, "only what fired resolves");
                        firing_since.remove(labels);
                    }
                }
            }
        }
    }

    /// Told after every round, the notifier always knows who fires.
    #[test]
    fn every_start_and_end_is_sent(
        rounds in prop::collection::vec(prop::collection::btree_set(0..3u8, 0..3), 1..60), for_min in 0..3i64, keep_min in 0..3i64
    ) {
        let mut alerts = Alerts::new();
        let mut told: BTreeMap<Labels, bool> = BTreeMap::new();
        for (minute, there) in rounds.iter().enumerate() {
            let ts = minute as i64 * MIN;
            let there: Vec<u8> = there.iter().copied().collect();
            step(&mut alerts, seen(&there), ts, timing(for_min, keep_min));
            for (labels, alert) in &mut alerts {
                if needs_sending(alert, ts, MIN) {
                    alert.last_sent_at_ms = Some(ts);
                    told.insert(labels.clone(), alert.state == AlertState::Firing);
                }
            }
            let firing = |labels: &Labels| alerts.get(labels).is_some_and(|a| a.state == AlertState::Firing);
            for (labels, told) in &told {
                prop_assert_eq!(*told, firing(labels));
            }
            for labels in alerts.keys().filter(|labels| firing(labels)) {
                prop_assert!(told.contains_key(labels));
            }
        }
    }
}
