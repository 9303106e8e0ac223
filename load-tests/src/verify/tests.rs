//! A server that keeps its word passes; one that loses, changes, doubles or invents a sample is found out.

use super::*;
use crate::fleet::Plan;

fn run() -> Run {
    let plan = Plan { series: 600, churn_percent: 5.0, seed: 4, start_ms: 1_000_000, step_ms: 15_000 };
    Run { plan, rounds: 4, request_samples: 100, connections: 2, shuffle: true }
}

fn acked_all_but(run: &Run, left_out: (u64, u32)) -> Vec<(u64, u32)> {
    (1..=run.rounds).flat_map(|r| (0..6).map(move |i| (r, i))).filter(|a| *a != left_out).collect()
}

/// What an honest server answers, as Prometheus' JSON, with an external label added.
fn honest_answer(run: &Run) -> Value {
    let mut fleet = Fleet::new(run.plan);
    let mut series: HashMap<String, (Value, Vec<Value>)> = HashMap::new();
    for _ in 0..run.rounds {
        fleet.advance();
        for s in 0..fleet.len() {
            let mut metric: serde_json::Map<String, Value> = fleet
                .labels(s)
                .map(|(n, v)| (fleet.symbols.text(n).to_owned(), json!(fleet.symbols.text(v))))
                .collect();
            metric.insert("tenant_id".to_owned(), json!("default-tenant"));
            let metric = Value::Object(metric);
            let point = json!([fleet.timestamp_ms() as f64 / 1_000.0, fleet.value(s).to_string()]);
            series.entry(metric.to_string()).or_insert((metric, Vec::new())).1.push(point);
        }
    }
    let result: Vec<Value> = series.into_values().map(|(m, v)| json!({ "metric": m, "values": v })).collect();
    json!({ "data": { "result": result } })
}

fn findings(run: &Run, acked: &[(u64, u32)], answer: &Value) -> Findings {
    let mut sent = Sent::of(run, acked, 1);
    let mut findings = Findings { acked: sent.acked, ..Findings::default() };
    compare(answer, &mut sent, run.plan.start_ms, run.plan.step_ms, &mut findings).unwrap();
    findings.missing = sent.missing();
    findings
}

#[test]
fn an_honest_server_passes_and_what_it_was_not_asked_to_keep_is_allowed() {
    let run = run();
    let found = findings(&run, &acked_all_but(&run, (2, 3)), &honest_answer(&run));
    assert_eq!(found, Findings { acked: 2_300, offered: 100, ..Findings::default() });
    assert!(found.is_clean());
}

#[test]
fn every_kind_of_lie_is_counted() {
    let run = run();
    let acked = acked_all_but(&run, (9, 9));
    let lie = |change: &dyn Fn(&mut Vec<Value>)| {
        let mut answer = honest_answer(&run);
        let series = answer["data"]["result"].as_array_mut().unwrap();
        change(series[0]["values"].as_array_mut().unwrap());
        findings(&run, &acked, &answer)
    };
    assert_eq!(lie(&|v| drop(v.pop())).missing, 1);
    assert_eq!(lie(&|v| v[0][1] = json!("-1")).different, 1);
    assert_eq!(lie(&|v| v.push(v[0].clone())).doubled, 1);
    assert_eq!(lie(&|v| v.push(json!([1_000.5, "1"]))).invented, 1);
    assert_eq!(lie(&|v| v.push(json!([10_000.0, "1"]))).invented, 1);

    let mut answer = honest_answer(&run);
    answer["data"]["result"][0]["metric"]["pod"] = json!("somebody-else");
    let found = findings(&run, &acked, &answer);
    assert!(found.invented > 0 && found.missing == found.invented && !found.is_clean());
}
