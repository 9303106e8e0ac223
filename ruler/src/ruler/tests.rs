//! Whole rulers on the real engine, in simulated time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::memory::{Memory, START_MS, World};

const MIN: i64 = 60_000;
const RECORDING: &str =
    "groups:\n- name: g\n  rules:\n  - record: up:sum\n    expr: sum(up)\n    labels: {team: a}\n";
const GROUP: &str = "{rule_group=\"/etc/rules.yml;g\"}";
const SUM: &str = r#"up:sum{team="a"}"#;

fn values(points: &[(i64, f64)]) -> Vec<f64> {
    points.iter().map(|(_, v)| *v).collect()
}

fn assert_grid(points: &[(i64, f64)], count: usize) {
    assert_eq!(points.len(), count, "{points:?}");
    for pair in points.windows(2) {
        assert_eq!(pair[1].0 - pair[0].0, MIN, "a gap in {points:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_rule_writes_at_each_slot_and_ends_series_that_vanish() {
    let world = World::new(RECORDING);
    world.memory.put_up("a", START_MS, START_MS + 5 * MIN, 2.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(15).await;
    world.stop().await;
    let points = world.memory.floats(SUM);
    let (good, stale): (Vec<_>, Vec<_>) = points.iter().partition(|(_, v)| !v.is_nan());
    assert!((9..=11).contains(&good.len()), "five minutes of data and five of lookback: {points:?}");
    assert!(good.iter().all(|(_, v)| *v == 2.0));
    assert_eq!(stale.len(), 1, "one marker, then silence");
    assert_grid(&points, points.len());
    assert_eq!(world.metric(&format!("prometheus_rule_group_iterations_missed_total{GROUP}")), 0.0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_could_not_be_written_are_made_up_at_their_own_time() {
    let world = World::new(RECORDING);
    world.memory.put_up("a", START_MS, START_MS + 30 * MIN, 2.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(3).await;
    world.memory.refuses_writes.store(true, Ordering::Relaxed);
    world.sleep_min(4).await;
    assert_eq!(world.memory.floats(SUM).len(), 3);
    world.memory.refuses_writes.store(false, Ordering::Relaxed);
    world.sleep_min(3).await;
    world.stop().await;
    assert_grid(&world.memory.floats(SUM), 10);
    assert_eq!(world.metric(&format!("cairn_rule_evaluations_made_up_total{GROUP}")), 4.0);
    assert_eq!(world.metric(&format!("cairn_rule_evaluations_lost_total{GROUP}")), 0.0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_could_not_be_read_are_made_up_with_the_values_of_their_time() {
    let world = World::new(RECORDING);
    for minute in 0..30 {
        world.memory.put(&[("__name__", "up")], START_MS + minute * MIN, minute as f64);
    }
    world.ruler.reload().await.unwrap();
    world.sleep_min(2).await;
    world.memory.refuses_reads.store(true, Ordering::Relaxed);
    world.sleep_min(3).await;
    world.memory.refuses_reads.store(false, Ordering::Relaxed);
    world.sleep_min(3).await;
    world.stop().await;
    let points = world.memory.floats(SUM);
    assert_grid(&points, 8);
    for (t, v) in points {
        assert_eq!(v, ((t - START_MS) / MIN) as f64);
    }
}

#[tokio::test(start_paused = true)]
async fn slots_that_passed_during_a_slow_evaluation_are_made_up() {
    let world = World::new("groups:\n- name: g\n  interval: 20s\n  rules:\n  - {record: x, expr: sum(up)}\n");
    world.memory.put_up("a", START_MS, START_MS + 60 * MIN, 2.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(2).await;
    world.memory.read_ms.store(100_000, Ordering::Relaxed);
    world.runtime.clock.sleep(std::time::Duration::from_secs(20)).await;
    world.memory.read_ms.store(0, Ordering::Relaxed);
    world.runtime.clock.sleep(std::time::Duration::from_secs(220)).await;
    world.stop().await;
    let points = world.memory.floats("x");
    assert_eq!(points.len(), 18, "{points:?}");
    assert!(points.windows(2).all(|pair| pair[1].0 - pair[0].0 == 20_000), "{points:?}");
    assert_eq!(world.metric(&format!("prometheus_rule_group_iterations_missed_total{GROUP}")), 4.0);
    assert_eq!(world.metric(&format!("cairn_rule_evaluations_made_up_total{GROUP}")), 4.0);
}

#[tokio::test(start_paused = true)]
async fn slots_missed_over_a_restart_are_made_up() {
    let first = World::new(RECORDING);
    first.memory.put_up("a", START_MS, START_MS + 60 * MIN, 2.0);
    first.ruler.reload().await.unwrap();
    first.sleep_min(5).await;
    first.stop().await;
    let (disk, memory) = (first.runtime.disk.clone(), first.memory.clone());
    let second = World::over(disk, memory, first.now_ms() + 6 * MIN, RECORDING);
    second.ruler.reload().await.unwrap();
    second.sleep_min(4).await;
    second.stop().await;
    assert_grid(&second.memory.floats(SUM), 15);
    assert_eq!(second.metric(&format!("cairn_rule_evaluations_lost_total{GROUP}")), 0.0);
}

#[tokio::test(start_paused = true)]
async fn slots_older_than_ten_minutes_are_counted_as_lost() {
    let first = World::new(RECORDING);
    first.memory.put_up("a", START_MS, START_MS + 90 * MIN, 2.0);
    first.ruler.reload().await.unwrap();
    first.sleep_min(5).await;
    first.stop().await;
    let (disk, memory) = (first.runtime.disk.clone(), first.memory.clone());
    let second = World::over(disk, memory, first.now_ms() + 60 * MIN, RECORDING);
    second.ruler.reload().await.unwrap();
    second.sleep_min(3).await;
    second.stop().await;
    let made_up = second.metric(&format!("cairn_rule_evaluations_made_up_total{GROUP}"));
    let lost = second.metric(&format!("cairn_rule_evaluations_lost_total{GROUP}"));
    assert_eq!((made_up, lost), (10.0, 50.0));
}

const ALERTING: &str = r#"groups:
- name: g
  rules:
  - alert: Down
    expr: up == 0
    for: 3m
    labels:
      severity: page
      who: "{{ $labels.job }}"
    annotations:
      summary: "{{ $labels.job }} of {{ $externalLabels.cluster }} is {{ $value }}, {{ with query \"count(up)\" }}{{ . | first | value }} known{{ end }}"
"#;

#[tokio::test(start_paused = true)]
async fn an_alert_fires_after_its_time_and_its_end_is_told() {
    let world = World::new(ALERTING);
    world.memory.put_up("a", START_MS, START_MS + 5 * MIN, 0.0);
    world.memory.put_up("a", START_MS + 5 * MIN, START_MS + 30 * MIN, 1.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(1).await;
    world.runtime.clock.sleep(std::time::Duration::from_secs(1)).await;
    let state = |world: &World| world.ruler.groups()[0].rules[0].state().map(|s| s.as_str());
    assert_eq!(state(&world), Some("pending"));
    assert!(world.inbox.0.lock().is_empty(), "a pending alert is nobody's business");
    world.sleep_min(3).await;
    assert_eq!(state(&world), Some("firing"));
    let first = world.inbox.0.lock()[0].clone();
    assert_eq!(
        first["labels"],
        serde_json::json!({"alertname": "Down", "job": "a", "severity": "page", "who": "a", "cluster": "eu1"})
    );
    assert_eq!(first["annotations"]["summary"], "a of eu1 is 0, 1 known");
    assert_eq!(first["generatorURL"], "http://cairn/graph?g0.expr=up+%3D%3D+0&g0.tab=1");
    world.sleep_min(5).await;
    world.stop().await;
    assert_eq!(state(&world), Some("inactive"));
    let last = world.inbox.0.lock().last().unwrap().clone();
    assert_eq!(last["startsAt"], first["startsAt"]);
    let resolved_at = last["endsAt"].as_str().unwrap().to_owned();
    assert!(
        resolved_at.as_str() <= cairn_model::datetime::rfc3339_ms(world.now_ms()).as_str(),
        "and it has come"
    );

    let alerts = world.memory.names("ALERTS");
    assert_eq!(alerts.len(), 2, "pending and firing: {alerts:?}");
    for series in alerts {
        let points = world.memory.floats(&series);
        assert!(points.last().unwrap().1.is_nan(), "{series} ends with a stale marker: {points:?}");
    }
    let for_state = world.memory.floats(&world.memory.names("ALERTS_FOR_STATE")[0]);
    assert!(for_state.iter().any(|(_, v)| (START_MS / 1000..START_MS / 1000 + 61).contains(&(*v as i64))));
}

const LONG_FOR: &str = "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n    for: 30m\n    labels: {severity: page}\n";

#[tokio::test(start_paused = true)]
async fn a_for_state_survives_a_restart() {
    let first = World::new(LONG_FOR);
    first.memory.put_up("a", START_MS, START_MS + 3 * 60 * MIN, 0.0);
    first.ruler.reload().await.unwrap();
    first.sleep_min(15).await;
    first.stop().await;
    let (disk, memory) = (first.runtime.disk.clone(), first.memory.clone());
    let second = World::over(disk, memory, first.now_ms() + 20 * MIN, LONG_FOR);
    second.ruler.reload().await.unwrap();
    second.sleep_min(14).await;
    assert!(second.inbox.0.lock().is_empty(), "fifteen minutes waited, fourteen more: not thirty");
    second.sleep_min(4).await;
    second.stop().await;
    assert!(!second.inbox.0.lock().is_empty(), "it does not begin anew");
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_ended_before_a_restart_begins_anew() {
    let first = World::new(LONG_FOR);
    first.memory.put_up("a", START_MS, START_MS + 20 * MIN, 0.0);
    first.memory.put_up("a", START_MS + 20 * MIN, START_MS + 25 * MIN, 1.0);
    first.memory.put_up("a", START_MS + 25 * MIN, START_MS + 180 * MIN, 0.0);
    first.ruler.reload().await.unwrap();
    first.sleep_min(23).await;
    first.stop().await;
    let (disk, memory) = (first.runtime.disk.clone(), first.memory.clone());
    let second = World::over(disk, memory, first.now_ms() + 5 * MIN, LONG_FOR);
    second.ruler.reload().await.unwrap();
    second.sleep_min(29).await;
    assert!(second.inbox.0.lock().is_empty());
    second.sleep_min(4).await;
    second.stop().await;
    assert!(!second.inbox.0.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_leaves_the_old_rules_in_force() {
    let world = World::new(RECORDING);
    world.memory.put_up("a", START_MS, START_MS + 30 * MIN, 2.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(2).await;
    assert_eq!(world.metric("thanos_rule_config_last_reload_successful"), 1.0);
    let error = world
        .rewrite_rules("groups:\n- name: g\n  rules:\n  - record: x\n    expr: sum(\n")
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("/etc/rules.yml: 5:11: group \"g\", rule 1, \"x\": could not parse expression"),
        "{text}"
    );
    assert_eq!(world.metric("thanos_rule_config_last_reload_successful"), 0.0);
    let state = world.ruler.reload_state();
    assert!(
        !state.successful && state.success_ms >= START_MS,
        "{state:?}: the rules in force are the old ones"
    );
    world.sleep_min(2).await;
    assert_eq!(world.memory.floats(SUM).len(), 4, "the old rule goes on");
    world.rewrite_rules(RECORDING).await.unwrap();
    assert_eq!(world.metric("thanos_rule_config_last_reload_successful"), 1.0);
    world.sleep_min(2).await;
    world.stop().await;
    assert_grid(&world.memory.floats(SUM), 6);
}

#[tokio::test(start_paused = true)]
async fn a_changed_group_keeps_its_alerts_and_ends_series_of_rules_that_are_gone() {
    let both = |for_min: u32, record: &str| {
        format!(
            "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n    for: {for_min}m\n  - record: {record}\n    expr: sum(up)\n"
        )
    };
    let world = World::new(&both(5, "old"));
    world.memory.put_up("a", START_MS, START_MS + 30 * MIN, 0.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(4).await;
    world.rewrite_rules(&both(6, "new")).await.unwrap();
    world.sleep_min(4).await;
    world.stop().await;
    assert!(!world.inbox.0.lock().is_empty(), "active since before the reload");
    let old = world.memory.floats("old");
    assert!(old.last().unwrap().1.is_nan(), "{old:?}");
    assert_eq!(values(&old[..4]), [0.0; 4]);
    assert_grid(&world.memory.floats("new"), 4);
}

#[tokio::test(start_paused = true)]
async fn series_of_a_group_that_is_gone_end_two_intervals_later_unless_they_go_on_elsewhere() {
    let world = World::new(
        "groups:\n- name: g\n  rules:\n  - {record: gone, expr: sum(up)}\n  - {record: moved, expr: sum(up)}\n",
    );
    world.memory.put_up("a", START_MS, START_MS + 30 * MIN, 1.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(3).await;
    world.rewrite_rules("groups:\n- name: h\n  rules:\n  - {record: moved, expr: sum(up)}\n").await.unwrap();
    world.sleep_min(1).await;
    assert!(!world.memory.floats("gone").last().unwrap().1.is_nan(), "not yet");
    world.sleep_min(4).await;
    world.stop().await;
    assert!(world.memory.floats("gone").last().unwrap().1.is_nan());
    assert!(world.memory.floats("moved").iter().all(|(_, v)| *v == 1.0));
    assert!(
        !world
            .runtime
            .metrics
            .render()
            .contains("prometheus_rule_group_rules{rule_group=\"/etc/rules.yml;g\"}")
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_somebody_else_took_writes_nothing_more() {
    let world = World::new(RECORDING);
    world.memory.put_up("a", START_MS, START_MS + 30 * MIN, 2.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(3).await;
    let before = world.memory.floats(SUM).len();
    assert_eq!(before, 3);
    world.assigner.take_all();
    world.sleep_min(5).await;
    world.stop().await;
    assert_eq!(world.memory.floats(SUM).len(), before);
}

#[tokio::test(start_paused = true)]
async fn a_rule_over_its_limit_writes_nothing_and_says_so() {
    let world = World::new("groups:\n- name: g\n  limit: 1\n  rules:\n  - {record: x, expr: up}\n");
    world.memory.put_up("a", START_MS, START_MS + 30 * MIN, 2.0);
    world.memory.put_up("b", START_MS, START_MS + 30 * MIN, 2.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(3).await;
    world.stop().await;
    assert!(world.memory.names("x").is_empty());
    let group = &world.ruler.groups()[0];
    assert_eq!(group.rules[0].last_error.as_deref(), Some("exceeded limit of 1 with 2 series"));
    assert_eq!(world.metric(&format!("prometheus_rule_evaluation_failures_total{GROUP}")), 3.0);
}

#[tokio::test(start_paused = true)]
async fn rules_see_what_earlier_rules_of_the_same_slot_wrote() {
    let world = World::new(
        "groups:\n- name: g\n  rules:\n  - {record: one, expr: sum(up)}\n  - {record: two, expr: one * 10}\n",
    );
    world.memory.put_up("a", START_MS, START_MS + 30 * MIN, 3.0);
    world.ruler.reload().await.unwrap();
    world.sleep_min(4).await;
    world.stop().await;
    assert_eq!(values(&world.memory.floats("two")), [30.0; 4]);
}

#[tokio::test(start_paused = true)]
async fn a_query_offset_moves_what_is_read_and_where_it_is_written() {
    let world =
        World::new("groups:\n- name: g\n  query_offset: 1m\n  rules:\n  - {record: x, expr: sum(up)}\n");
    for minute in -5..30 {
        world.memory.put(&[("__name__", "up")], START_MS + minute * MIN, minute as f64);
    }
    world.ruler.reload().await.unwrap();
    world.sleep_min(4).await;
    world.stop().await;
    let points = world.memory.floats("x");
    assert_grid(&points, 4);
    for (t, v) in &points {
        assert_eq!(*v, (t - START_MS).div_euclid(MIN) as f64);
    }
    assert!(
        points[0].0 <= START_MS,
        "the first slot is within a minute of the start, the data a minute before it"
    );
}

#[tokio::test(start_paused = true)]
async fn histograms_are_recorded() {
    use cairn_model::sample::Value;
    use cairn_model::{FloatHistogram, Labels};
    let world = World::new("groups:\n- name: g\n  rules:\n  - {record: h:sum, expr: sum(h)}\n");
    let histogram = FloatHistogram { count: 3.0, sum: 6.0, zero_count: 3.0, ..FloatHistogram::default() };
    let labels = Labels::from_pairs([("__name__", "h")]).unwrap();
    for minute in 0..10 {
        let value = Value::FloatHistogram(Arc::new(histogram.clone()));
        world.memory.series.lock().entry(labels.clone()).or_default().insert(START_MS + minute * MIN, value);
    }
    world.ruler.reload().await.unwrap();
    world.sleep_min(3).await;
    world.stop().await;
    let all = world.memory.series.lock();
    let recorded = &all[&Labels::from_pairs([("__name__", "h:sum")]).unwrap()];
    assert_eq!(recorded.len(), 3);
    assert!(
        recorded.values().all(|v| matches!(v, Value::FloatHistogram(h) if h.count == 3.0 && h.sum == 6.0))
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_alerts_and_series() {
    async fn run() -> (Vec<serde_json::Value>, String) {
        let world = World::new(ALERTING);
        let memory: &Memory = &world.memory;
        memory.put_up("a", START_MS, START_MS + 5 * MIN, 0.0);
        memory.put_up("b", START_MS, START_MS + 20 * MIN, 0.0);
        world.ruler.reload().await.unwrap();
        world.sleep_min(12).await;
        world.stop().await;
        let series = format!("{:?}", world.memory.series.lock());
        let posted = world.inbox.0.lock().clone();
        (posted, series)
    }
    let first = run().await;
    assert!(!first.0.is_empty());
    assert_eq!(first, run().await);
}
