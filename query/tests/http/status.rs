//! Facts of the server.

use std::sync::Arc;

use cairn_query::{QueryApi, ServerFacts, ServerNow, ServerState};
use serde_json::json;

use crate::world::{Memory, World, ask, get, series};

/// A server whose last reload failed.
struct State;

impl ServerState for State {
    fn now(&self) -> ServerNow {
        ServerNow { reload_successful: false, config_read_ms: 1_500, wal_corruptions: 2, tasks: 7 }
    }
}

fn api() -> Arc<QueryApi> {
    let of = |name, tenant, jobs: &[&str]| Memory {
        name,
        tenant,
        series: jobs
            .iter()
            .map(|job| series(&[("__name__", "up"), ("job", job), ("tenant_id", tenant)], &[(0, 1.0)], None))
            .collect(),
        down: false,
    };
    World {
        stores: vec![of("head", "a", &["x", "y"]), of("bucket", "b", &["z"])],
        replica_labels: vec![],
        auto_downsampling: false,
    }
    .api()
}

#[tokio::test]
async fn facts_are_told_once_the_wiring_has_handed_them_over() {
    let api = api();
    let routes = api.clone().router();
    for page in ["flags", "config", "runtimeinfo"] {
        let refused = get(&routes, &format!("/api/v1/status/{page}"), &[]).await;
        assert_eq!(refused.status, 501, "{page}");
    }
    let facts = ServerFacts {
        flags: [("query.timeout".to_owned(), "2m".to_owned())].into(),
        config_yaml: "query.timeout: 2m\n".into(),
        working_dir: "/srv".into(),
        hostname: "n1".into(),
        memory_limit_bytes: 1 << 30,
        storage_retention: "24h".into(),
    };
    api.describe(facts, Arc::new(State));
    let data =
        async |page: &str| get(&routes, &format!("/api/v1/status/{page}"), &[]).await.json()["data"].take();
    assert_eq!(data("flags").await, json!({"query.timeout": "2m"}));
    assert_eq!(data("config").await, json!({"yaml": "query.timeout: 2m\n"}));
    assert_eq!(
        data("runtimeinfo").await,
        json!({
            "startTime": "1970-01-01T00:16:40Z", "serverTime": "1970-01-01T00:16:40Z",
            "CWD": "/srv", "hostname": "n1", "storageRetention": "24h",
            "reloadConfigSuccess": false, "lastConfigTime": "1970-01-01T00:00:01.5Z",
            "corruptionCount": 2, "goroutineCount": 7, "GOMAXPROCS": 1, "GOMEMLIMIT": 1 << 30,
            "GOGC": "", "GODEBUG": "",
        })
    );
}

#[tokio::test]
async fn series_of_the_head_are_counted_for_the_tenant_that_asks() {
    let routes = api().router();
    let count = async |tenant: Option<&str>| {
        let mut request = axum::http::Request::get("/api/v1/status/tsdb");
        if let Some(tenant) = tenant {
            request = request.header("THANOS-TENANT", tenant);
        }
        let answer = ask(&routes, request.body(axum::body::Body::empty()).unwrap()).await;
        answer.json()["data"]["headStats"]["numSeries"].as_u64()
    };
    assert_eq!(count(None).await, Some(2), "the bucket's series are not the head's");
    assert_eq!(count(Some("a")).await, Some(2));
    assert_eq!(count(Some("b")).await, Some(0));
}
