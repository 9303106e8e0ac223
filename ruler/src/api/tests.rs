use axum::body::Body;
use axum::http::Request;
use cairn_model::rules::{AlertState, RuleGroupStatus, RulesFilter, RulesSource};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::memory::{START_MS, World};

const RULES: &str = r#"groups:
- name: a
  partial_response_strategy: warn
  rules:
  - {record: up:sum, expr: 'sum(up)', labels: {team: x}}
  - {alert: Down, expr: 'up==0', labels: {severity: page, who: '{{ $labels.job }}'}, annotations: {summary: 'down: {{ $labels.job }}'}, keep_firing_for: 5m}
- name: b
  limit: 5
  interval: 30s
  rules:
  - {record: broken, expr: 'up * on() group_left() up'}
- name: empty
"#;

async fn get(world: &World, path: &str) -> (u16, Value) {
    let router = super::router(world.ruler.clone());
    let answer = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn running() -> World {
    let world = World::new(RULES);
    for job in ["n", "m"] {
        world.memory.put_up(job, START_MS, START_MS + 600_000, 0.0);
    }
    world.ruler.reload().await.unwrap();
    world.sleep_min(1).await;
    world.runtime.clock.sleep(std::time::Duration::from_secs(1)).await;
    world
}

#[test]
fn numbers_are_written_as_prometheus_writes_them() {
    let body = super::json::success(&[0.0, 60.0, 1.5, 0.003434143, 1e-6, 4.03e-7, 1e-7]);
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"status":"success","data":[0,60,1.5,0.003434143,0.000001,4.03e-07,1e-07]}"#
    );
}

fn names(answer: &Value) -> Vec<String> {
    let groups = answer["data"]["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.map(|rule| rule["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn rules_before_their_first_evaluation_are_unknown() {
    let world = World::new(RULES);
    world.ruler.reload().await.unwrap();
    let (_, answer) = get(&world, "/api/v1/rules").await;
    let rule = &answer["data"]["groups"][0]["rules"][1];
    assert_eq!((&rule["state"], &rule["health"]), (&json!("unknown"), &json!("unknown")));
    assert_eq!(rule["lastEvaluation"], "0001-01-01T00:00:00Z");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn rules_have_the_shape_of_prometheus_with_thanos_fields() {
    let world = running().await;
    let (status, answer) = get(&world, "/api/v1/rules").await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")));
    let groups = answer["data"]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 3);
    let group = &groups[0];
    for (field, want) in [
        ("name", json!("a")),
        ("file", json!("/etc/rules.yml")),
        ("interval", json!(60)),
        ("limit", json!(0)),
        ("partialResponseStrategy", json!("WARN")),
    ] {
        assert_eq!(group[field], want, "{field}");
    }
    assert!(group["lastEvaluation"].as_str().unwrap().starts_with("2023-11-14T22:1"));
    let recording = &group["rules"][0];
    assert_eq!(recording["type"], "recording");
    assert_eq!(recording["labels"], json!({"team": "x"}));
    assert!(recording.get("lastError").is_none() && recording.get("alerts").is_none());
    let alerting = &group["rules"][1];
    for (field, want) in [
        ("type", json!("alerting")),
        ("state", json!("firing")),
        ("query", json!("up == 0")),
        ("duration", json!(0)),
        ("keepFiringFor", json!(300)),
        ("health", json!("ok")),
        ("annotations", json!({"summary": "down: {{ $labels.job }}"})),
    ] {
        assert_eq!(alerting[field], want, "{field}");
    }
    let alert = &alerting["alerts"][0];
    assert_eq!(alert["labels"], json!({"alertname": "Down", "job": "m", "severity": "page", "who": "m"}));
    assert_eq!(alert["annotations"], json!({"summary": "down: m"}));
    assert_eq!((&alert["state"], &alert["value"]), (&json!("firing"), &json!("0e+00")));
    assert!(alert["activeAt"].as_str().unwrap().ends_with('Z'));
    assert!(alert.get("keepFiringSince").is_none());
    let broken = &groups[1]["rules"][0];
    assert_eq!(broken["health"], "err");
    assert!(broken["lastError"].as_str().unwrap().contains("found duplicate series"), "{broken}");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn parameters_narrow_the_answer() {
    let world = running().await;
    for (query, want) in [
        ("type=alert", vec!["Down"]),
        ("type=record", vec!["up:sum", "broken"]),
        ("rule_name[]=Down&rule_name[]=broken", vec!["Down", "broken"]),
        ("rule_group[]=b", vec!["broken"]),
        ("file[]=/etc/rules.yml", vec!["up:sum", "Down", "broken"]),
        ("file[]=other.yml", vec![]),
        ("match[]=%7Bteam%3D%22x%22%7D", vec!["up:sum"]),
        ("match[]=%7Bwho%3D~%22.%2B%22%7D", vec![]),
        ("match[]=%7Bteam%3D%22x%22%7D&match[]=%7Bseverity%3D%22page%22%7D", vec!["up:sum", "Down"]),
    ] {
        let (status, answer) = get(&world, &format!("/api/v1/rules?{query}")).await;
        assert_eq!(
            (status, names(&answer)),
            (200, want.iter().map(ToString::to_string).collect()),
            "{query}"
        );
    }
    let (_, answer) = get(&world, "/api/v1/rules?exclude_alerts=true").await;
    assert_eq!(answer["data"]["groups"][0]["rules"][1]["alerts"], json!([]));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn groups_come_in_pages() {
    let world = running().await;
    let (mut token, mut seen) = (String::new(), Vec::new());
    for _ in 0..5 {
        let (_, answer) = get(&world, &format!("/api/v1/rules?group_limit=1&group_next_token={token}")).await;
        seen.extend(answer["data"]["groups"].as_array().unwrap().iter().map(|g| g["name"].clone()));
        match answer["data"].get("groupNextToken") {
            Some(next) => token = next.as_str().unwrap().to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "empty"]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn parameters_that_cannot_be_used_are_named() {
    let world = running().await;
    for (query, want) in [
        ("type=foo", r#"invalid parameter "type": not supported value "foo""#),
        ("group_limit=0", r#"invalid parameter "group_limit": group_limit needs to be greater than 0"#),
        (
            "group_limit=x",
            r#"invalid parameter "group_limit": group_limit needs to be a valid number: strconv"#,
        ),
        ("group_next_token=abc", r#"invalid parameter "group_next_token": group_limit needs to be present"#),
        (
            "group_limit=1&group_next_token=abc",
            r#"invalid parameter "group_next_token": invalid group_next_"#,
        ),
        ("exclude_alerts=maybe", r#"invalid parameter "exclude_alerts": error converting exclude_alerts: "#),
        ("match[]=%7B", r#"invalid parameter "match[]": 1:2: parse error"#),
    ] {
        let (status, answer) = get(&world, &format!("/api/v1/rules?{query}")).await;
        assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")), "{query}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with(want), "{query}: {error}");
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn alerts_and_alertmanagers() {
    let world = running().await;
    let (_, answer) = get(&world, "/api/v1/alerts").await;
    let jobs: Vec<&Value> =
        answer["data"]["alerts"].as_array().unwrap().iter().map(|a| &a["labels"]["job"]).collect();
    assert_eq!(jobs, ["m", "n"]);
    let (_, answer) = get(&world, "/api/v1/alertmanagers").await;
    let want =
        json!({"activeAlertmanagers": [{"url": "http://am:9093/api/v2/alerts"}], "droppedAlertmanagers": []});
    assert_eq!(answer["data"], want);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn other_front_ends_get_the_same_state() {
    let world = running().await;
    let listed = |filter: RulesFilter| {
        let groups = world.ruler.rule_groups(&filter);
        let name = |g: &RuleGroupStatus| {
            (g.name.clone(), g.rules.iter().map(|r| r.name.clone()).collect::<Vec<_>>().join(","))
        };
        groups.iter().map(name).map(|(group, rules)| format!("{group}:{rules}")).collect::<Vec<_>>()
    };
    let selector = |text| vec![cairn_promql::parser::parse_selector(text).unwrap()];
    for (filter, want) in [
        (RulesFilter::default(), vec!["a:up:sum,Down", "b:broken", "empty:"]),
        (RulesFilter { alerting: Some(true), ..Default::default() }, vec!["a:Down", "b:", "empty:"]),
        (RulesFilter { alerting: Some(false), ..Default::default() }, vec!["a:up:sum", "b:broken", "empty:"]),
        (RulesFilter { names: vec!["Down".into()], ..Default::default() }, vec!["a:Down"]),
        (RulesFilter { groups: vec!["b".into()], ..Default::default() }, vec!["b:broken"]),
        (RulesFilter { files: vec!["other.yml".into()], ..Default::default() }, vec![]),
        (RulesFilter { selectors: selector("{team=\"x\"}"), ..Default::default() }, vec!["a:up:sum"]),
        (RulesFilter { selectors: selector("{who=~\".+\"}"), ..Default::default() }, vec![]),
    ] {
        assert_eq!(listed(filter.clone()), want, "{filter:?}");
    }
    let groups = world.ruler.rule_groups(&RulesFilter::default());
    assert!(!groups[0].abort_on_partial && groups[1].abort_on_partial);
    let (recording, alerting) = (&groups[0].rules[0], &groups[0].rules[1]);
    assert!(recording.alerting.is_none() && recording.health == "ok");
    let details = alerting.alerting.as_ref().unwrap();
    assert_eq!((details.state, details.keep_firing_for_ms), (Some(AlertState::Firing), 300_000));
    let alert = &details.alerts[0];
    assert_eq!((alert.labels.get("job"), alert.value), (Some("m"), 0.0));
    assert!(alert.active_at_ms >= START_MS && alert.state == AlertState::Firing);
    assert!(groups[1].rules[0].last_error.as_ref().unwrap().contains("duplicate series"));
    world.stop().await;
}
