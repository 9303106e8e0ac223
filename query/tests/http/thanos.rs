//! Thanos' extra parameters.

use axum::Router;
use cairn_model::chunk::Aggregates;
use serde_json::{Value, json};

use crate::world::{Asked, Memory, World, chunk, get, series};

const MIN_MS: i64 = 60_000;

/// A gauge that is the minute, once a minute for two hours.
fn minutes(shift_ms: i64) -> Vec<(i64, f64)> {
    (0..120).map(|i| (i * MIN_MS + shift_ms, i as f64)).collect()
}

/// Tenant `a` has a pair of replicas, tenant `b` a gauge of which there are aggregates of 5 minutes that say 1000.
fn world() -> World {
    let replica = |name: &str, shift| {
        series(&[("__name__", "pair"), ("replica", name), ("tenant_id", "a")], &minutes(shift), None)
    };
    let windows: Vec<(i64, f64)> = (1..=24).map(|i| (i * 5 * MIN_MS - 1, 5.0)).collect();
    let sums: Vec<(i64, f64)> = windows.iter().map(|(t, n)| (*t, 1000.0 * n)).collect();
    let coarse = Aggregates {
        min_ms: windows[0].0,
        max_ms: windows[23].0,
        count: Some(chunk(&windows)),
        sum: Some(chunk(&sums)),
        ..Default::default()
    };
    let gauge = series(&[("__name__", "gauge"), ("tenant_id", "b")], &minutes(0), Some(coarse));
    let store = |name, tenant, series| Memory { name, tenant, series, down: false };
    World {
        stores: vec![
            store("head", "a", vec![replica("r1", 0), replica("r2", 7_000)]),
            store("bucket", "b", vec![gauge]),
        ],
        replica_labels: vec!["replica".into()],
        auto_downsampling: false,
    }
}

fn routes() -> Router {
    world().api().router()
}

async fn range(routes: &Router, query: &str, step: &str, more: &[(&str, &str)]) -> Asked {
    let plain = [("query", query), ("start", "3600"), ("end", "7200"), ("step", step)];
    get(routes, "/api/v1/query_range", &[&plain, more].concat()).await
}

/// Values at the first step.
fn first_values(answer: &Asked) -> Vec<String> {
    let json = answer.json();
    let result = json["data"]["result"].as_array().unwrap_or_else(|| panic!("{json}"));
    result.iter().map(|s| s["values"][0][1].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn coarse_data_answers_where_the_request_lets_it() {
    let routes = routes();
    for (step, resolution, want) in [
        ("60", None, "60"),
        ("1500", None, "60"),
        ("60", Some("0s"), "60"),
        ("60", Some("5m"), "1000"),
        ("60", Some("300"), "1000"),
        ("60", Some("1h"), "1000"),
        ("1499", Some("auto"), "60"),
        ("1500", Some("auto"), "1000"),
    ] {
        let more: Vec<_> = resolution.map(|r| ("max_source_resolution", r)).into_iter().collect();
        let answer = range(&routes, "gauge", step, &more).await;
        assert_eq!(first_values(&answer), [want], "step {step}, {resolution:?}");
    }
    let auto = World { auto_downsampling: true, ..world() }.api().router();
    assert_eq!(first_values(&range(&auto, "gauge", "1500", &[]).await), ["1000"]);
    assert_eq!(first_values(&range(&auto, "gauge", "1500", &[("max_source_resolution", "0")]).await), ["60"]);
    let instant = async |resolution| {
        let parameters = [("query", "gauge"), ("time", "3600"), ("max_source_resolution", resolution)];
        get(&routes, "/api/v1/query", &parameters).await.json()["data"]["result"][0]["value"][1].take()
    };
    assert_eq!((instant("5m").await, instant("auto").await), (json!("1000"), json!("60")));
}

#[tokio::test]
async fn replicas_are_one_series_unless_the_request_wants_both() {
    let routes = routes();
    let count = async |more: &[(&str, &str)]| {
        range(&routes, "count(pair)", "60", more).await.json()["data"]["result"][0]["values"][0][1].take()
    };
    assert_eq!(count(&[]).await, json!("1"));
    assert_eq!(count(&[("dedup", "true")]).await, json!("1"));
    assert_eq!(count(&[("dedup", "0")]).await, json!("2"));
    assert_eq!(count(&[("replicaLabels[]", "other")]).await, json!("2"));
    assert_eq!(count(&[("replicaLabels[]", "other"), ("replicaLabels[]", "replica")]).await, json!("1"));
    let samples = get(&routes, "/api/v1/query", &[("query", "pair[10m]"), ("time", "3600")]).await.json();
    let series = &samples["data"]["result"][0];
    assert_eq!(series["metric"], json!({"__name__": "pair", "tenant_id": "a"}));
    let times: Vec<f64> =
        series["values"].as_array().unwrap().iter().map(|p| p[0].as_f64().unwrap() % 60.0).collect();
    // The first sample of the range may be the other replica's: its penalty is short as long as no distance is known.
    let (first, rest) = times.split_first().unwrap();
    assert_eq!((*first, rest), (7.0, &[0.0; 10][..]), "one replica's samples, not both");

    let names = async |dedup| {
        let parameters = [("match[]", "pair"), ("dedup", dedup)];
        get(&routes, "/api/v1/series", &parameters).await.json()["data"].as_array().map(Vec::len)
    };
    assert_eq!((names("true").await, names("false").await), (Some(1), Some(2)));
}

#[tokio::test]
async fn shards_together_are_the_whole() {
    let routes = routes();
    let found = async |shard: &str| {
        let parameters = [("match[]", "{tenant_id=~\".+\"}"), ("dedup", "false"), ("shard_info", shard)];
        get(&routes, "/api/v1/series", &parameters).await.json()["data"].as_array().unwrap().clone()
    };
    let mut parts: Vec<Value> = Vec::new();
    for i in 0..3 {
        parts.extend(found(&format!(r#"{{"shard_index":{i},"total_shards":3,"labels":[]}}"#)).await);
    }
    let mut whole = found("{}").await;
    parts.sort_by_key(Value::to_string);
    whole.sort_by_key(Value::to_string);
    assert_eq!((parts.len(), &parts), (3, &whole));
}

#[tokio::test]
async fn stores_can_be_chosen_and_missing_ones_be_refused() {
    let count = async |routes: &Router, more: &[(&str, &str)]| {
        let answer = range(routes, "count({__name__=~\".+\"})", "60", more).await;
        (answer.status, answer.json())
    };
    let whole = routes();
    for (selector, want) in
        [("{tenant_id=\"a\"}", "1"), ("{__address__=\"bucket\"}", "1"), ("{tenant_id=~\".\"}", "2")]
    {
        let (_, json) = count(&whole, &[("storeMatch[]", selector)]).await;
        assert_eq!(json["data"]["result"][0]["values"][0][1], want, "{selector}");
    }
    let mut broken = world();
    broken.stores[1].down = true;
    let broken = broken.api().router();
    let (status, json) = count(&broken, &[]).await;
    assert_eq!((status, &json["data"]["result"][0]["values"][0][1]), (200, &json!("1")));
    assert_eq!(json["warnings"], json!(["answer is partial: bucket: bucket is unavailable: down"]));
    let (status, json) = count(&broken, &[("partial_response", "false")]).await;
    assert_eq!(status, 503, "{json}");
}

#[tokio::test]
async fn parameters_that_cannot_be_used_are_refused_in_thanos_words() {
    let routes = routes();
    for (name, value, want) in [
        ("dedup", "maybe", r#"'dedup' parameter: strconv.ParseBool: parsing "maybe": invalid syntax"#),
        (
            "partial_response",
            "2",
            r#"'partial_response' parameter: strconv.ParseBool: parsing "2": invalid syntax"#,
        ),
        ("analyze", "x", r#"'analyze' parameter: strconv.ParseBool: parsing "x": invalid syntax"#),
        ("engine", "foo", "'foo' bad engine"),
        (
            "max_source_resolution",
            "-300",
            "negative 'max_source_resolution' is not accepted. Try a positive integer",
        ),
        (
            "max_source_resolution",
            "coarse",
            r#"'max_source_resolution' parameter: cannot parse "coarse" to a valid duration"#,
        ),
        ("storeMatch[]", "{", "1:2: parse error: unexpected end of input inside braces"),
        ("shard_info", "[1", "could not unmarshal parameter shard_info: "),
        ("shard_info", r#"{"shard_index":2,"total_shards":2}"#, "shard_info: there is no shard 2 of 2"),
    ] {
        let answer = range(&routes, "gauge", "60", &[(name, value)]).await;
        assert_eq!(
            (answer.status, answer.json()["errorType"].as_str()),
            (400, Some("bad_data")),
            "{name}={value}"
        );
        assert!(answer.error().starts_with(want), "{name}={value}: {}", answer.error());
    }
    for (name, value) in
        [("engine", "thanos"), ("analyze", "true"), ("explain", "false"), ("shard_info", "{}")]
    {
        assert_eq!(range(&routes, "gauge", "60", &[(name, value)]).await.status, 200, "{name}={value}");
    }
}
