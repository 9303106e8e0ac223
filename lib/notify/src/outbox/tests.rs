use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("alertname", name)]).unwrap()
}

fn firing(name: &str, starts_at_ms: i64) -> AlertUpdate {
    AlertUpdate {
        labels: labels(name),
        annotations: Labels::empty(),
        starts_at_ms,
        generator_url: String::new(),
        state: AlertState::Firing { valid_for_ms: 1000 },
    }
}

fn resolved(name: &str, starts_at_ms: i64, at_ms: i64) -> AlertUpdate {
    AlertUpdate { state: AlertState::Resolved { at_ms }, ..firing(name, starts_at_ms) }
}

fn starts(outbox: &mut Outbox) -> Vec<(i64, bool)> {
    outbox.due(100).iter().map(|d| (d.episode.starts_at_ms, is_firing(&d.episode))).collect()
}

#[test]
fn repeats_of_a_firing_alert_stay_one_row() {
    let mut outbox = Outbox::default();
    for _ in 0..1000 {
        outbox.put(firing("a", 5));
    }
    assert_eq!(starts(&mut outbox), [(5, true)]);
}

#[test]
fn an_alert_that_resolved_and_fired_again_unsent_is_told_in_full() {
    let mut outbox = Outbox::default();
    outbox.put(firing("a", 5));
    outbox.put(resolved("a", 5, 9));
    outbox.put(firing("a", 12));
    assert_eq!(starts(&mut outbox), [(5, false)], "one episode of an alert a batch, the oldest first");
    let first = outbox.due(1).remove(0);
    outbox.settle(&first);
    assert_eq!(starts(&mut outbox), [(12, true)]);
}

#[test]
fn an_answer_to_an_older_state_does_not_settle_a_newer_one() {
    let mut outbox = Outbox::default();
    outbox.put(firing("a", 5));
    let sent = outbox.due(1).remove(0);
    outbox.put(resolved("a", 5, 9));
    outbox.settle(&sent);
    assert_eq!(starts(&mut outbox), [(5, false)]);
}

#[test]
fn batches_go_round_all_alerts() {
    let mut outbox = Outbox::default();
    for name in ["a", "b", "c"] {
        outbox.put(firing(name, 1));
    }
    let mut seen = Vec::new();
    for _ in 0..3 {
        let batch = outbox.due(1);
        outbox.advance(&batch);
        seen.push(batch[0].labels.get("alertname").unwrap().to_owned());
    }
    assert_eq!(seen, ["a", "b", "c"]);
}

#[test]
fn bounds_hold_and_tell_what_they_drop() {
    let mut outbox = Outbox::default();
    let mut dropped = 0;
    for n in 0..MAX_EPISODES as i64 + 3 {
        dropped += outbox.put(resolved("a", n * 10, n * 10 + 5)).episodes;
    }
    assert_eq!(dropped, 3);
    assert_eq!(starts(&mut outbox), [(30, false)]);
}

#[derive(Debug, Clone)]
enum Step {
    Fire(u8),
    Resolve(u8),
    SendAll,
    SendOneLate,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8).prop_map(Step::Fire),
        (0..4u8).prop_map(Step::Resolve),
        Just(Step::SendAll),
        Just(Step::SendOneLate)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens in between, once everything is sent the receiver's last word on each alert is the ruler's.
    #[test]
    fn the_receiver_ends_with_the_newest_state(steps in prop::collection::vec(step(), 1..60)) {
        let mut outbox = Outbox::default();
        let mut told: BTreeMap<Labels, AlertState> = BTreeMap::new();
        let mut truth: BTreeMap<Labels, (i64, AlertState)> = BTreeMap::new();
        let mut in_flight: Option<Due> = None;
        for (now, step) in steps.into_iter().enumerate() {
            let now = now as i64;
            match step {
                Step::Fire(n) => {
                    let labels = labels(&n.to_string());
                    let start = match truth.get(&labels) {
                        Some((start, AlertState::Firing { .. })) => *start,
                        _ => now,
                    };
                    let update = firing(&n.to_string(), start);
                    truth.insert(labels, (start, update.state));
                    outbox.put(update);
                }
                Step::Resolve(n) => {
                    let Some((start, AlertState::Firing { .. })) = truth.get(&labels(&n.to_string())).copied() else { continue };
                    let update = resolved(&n.to_string(), start, now);
                    truth.insert(labels(&n.to_string()), (start, update.state));
                    outbox.put(update);
                }
                // A sender posts one batch at a time; updates may come before its answer does.
                Step::SendAll => {
                    answer(in_flight.take(), &mut outbox, &mut told);
                    send_all(&mut outbox, &mut told);
                }
                Step::SendOneLate => {
                    answer(in_flight.take(), &mut outbox, &mut told);
                    in_flight = outbox.due(1).pop();
                }
            }
            prop_assert!(outbox.validate().is_ok());
        }
        answer(in_flight.take(), &mut outbox, &mut told);
        // The ruler repeats what still fires.
        for (labels, (start, state)) in &truth {
            if matches!(state, AlertState::Firing { .. }) {
                outbox.put(AlertUpdate { labels: labels.clone(), ..firing("", *start) });
            }
        }
        send_all(&mut outbox, &mut told);
        prop_assert!(outbox.is_empty());
        for (labels, (_, state)) in truth {
            prop_assert_eq!(told.get(&labels), Some(&state));
        }
    }
}

fn answer(due: Option<Due>, outbox: &mut Outbox, told: &mut BTreeMap<Labels, AlertState>) {
    if let Some(due) = due {
        told.insert(due.labels.clone(), due.episode.state);
        outbox.settle(&due);
    }
}

fn send_all(outbox: &mut Outbox, told: &mut BTreeMap<Labels, AlertState>) {
    while !outbox.is_empty() {
        let batch = outbox.due(2);
        outbox.advance(&batch);
        for due in batch {
            told.insert(due.labels.clone(), due.episode.state);
            outbox.settle(&due);
        }
    }
}
