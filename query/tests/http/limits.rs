//! Series and label lists are bounded as queries are: by what the process allows, and by the limits of their tenants.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use cairn_model::Cancel;
use cairn_model::memory_share::{Held, MemoryShare};
use cairn_model::storage::{
    LabelsRequest, Names, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo,
};
use cairn_model::tenant::TenantScope;
use cairn_promql::engine::{ColumnsOnly, QueryBounds, TenantBounds};
use cairn_promql::{Engine, EngineOptions};
use cairn_query::{ApiOptions, Fanout, PartialResponse, QueryApi};
use cairn_runtime::{CpuPool, ManualClock, MemDisk, Runtime, TcpNet};

use crate::world::{Asked, Memory, ask, series};

/// Bounds of tenant `a`; others have none of their own.
struct OfA(QueryBounds);

impl TenantBounds for OfA {
    fn bounds(&self, tenants: &TenantScope) -> QueryBounds {
        match tenants {
            TenantScope::Only(list) if list.iter().any(|t| t.as_str() == "a") => self.0,
            _ => QueryBounds::default(),
        }
    }
}

fn routes(
    store: Arc<dyn StoreApi>,
    clock: Arc<ManualClock>,
    edit: impl FnOnce(&mut EngineOptions),
) -> Router {
    let runtime = Runtime {
        clock: clock.clone(),
        ..Runtime::simulated(1, 0, Arc::new(TcpNet), Arc::new(MemDisk::new()))
    };
    let mut options = EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), clock);
    edit(&mut options);
    let max_series = options.max_series as usize;
    let api = ApiOptions {
        version: "1".into(),
        max_concurrent: 4,
        timeout_ms: 60_000,
        replica_labels: vec![],
        auto_downsampling: false,
    };
    let fanout = Fanout::new(vec![store], PartialResponse::Warn, max_series);
    QueryApi::new(Engine::new(options), fanout, runtime, api).router()
}

/// Nine series `up` of tenant `a`, over an engine whose tenant `a` has `bounds`.
fn nine(bounds: QueryBounds, max_series: u64) -> Router {
    let one = |i: usize| {
        let job = format!("job-{i}");
        series(&[("__name__", "up"), ("job", &job), ("tenant_id", "a")], &[(0, 1.0)], None)
    };
    let store = Memory { name: "head", tenant: "a", series: (0..9).map(one).collect(), down: false };
    routes(Arc::new(store), Arc::new(ManualClock::starting_at(1_000_000)), |o| {
        o.tenant_bounds = Some(Arc::new(OfA(bounds)));
        o.max_series = max_series;
    })
}

#[tokio::test]
async fn queries_at_a_time_share_their_memory_and_are_busy_beyond_it() {
    let one = |i: usize| {
        let job = format!("job-{i}");
        series(&[("__name__", "up"), ("job", &job), ("tenant_id", "a")], &[(0, 1.0)], None)
    };
    let store = Memory { name: "head", tenant: "a", series: (0..9).map(one).collect(), down: false };
    let share = MemoryShare::of(1000);
    let of_engine = share.clone();
    let routes = routes(Arc::new(store), Arc::new(ManualClock::starting_at(1_000_000)), |o| {
        o.memory = Some(of_engine);
    });
    let paths = ["/api/v1/query?query=up&time=0", "/api/v1/series?match[]=up&start=0&end=10"];
    for path in paths {
        assert_eq!(get_as(&routes, None, path).await.status, 200);
        assert_eq!(share.held(), 0, "{path}: given back");
    }
    // Somebody else holds the most of it.
    let other = Held::of(Some(share.clone()));
    other.add(990).unwrap();
    for path in paths {
        let refused = get_as(&routes, None, path).await;
        assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true), "{path}");
        assert!(refused.error().contains("the limit is 1000: try again"), "{}", refused.error());
        assert_eq!(share.held(), 990, "{path}: given back");
    }
    drop(other);
    assert_eq!(get_as(&routes, None, paths[0]).await.status, 200);
}

/// GET of a path whose query may hold what a URL may not.
async fn get_as(routes: &Router, tenant: Option<&str>, path: &str) -> Asked {
    let escaped = [('{', "%7B"), ('}', "%7D"), ('"', "%22")];
    let path = escaped.iter().fold(path.to_owned(), |path, (c, code)| path.replace(*c, code));
    let mut request = Request::get(path);
    if let Some(tenant) = tenant {
        request = request.header("THANOS-TENANT", tenant);
    }
    ask(routes, request.body(Body::empty()).unwrap()).await
}

/// How many there are in the answer, or the refusal.
async fn counted(routes: &Router, tenant: Option<&str>, path: &str) -> Result<usize, String> {
    let answer = get_as(routes, tenant, path).await;
    match answer.status {
        200 => Ok(answer.json()["data"].as_array().unwrap().len()),
        422 => {
            assert_eq!(answer.json()["errorType"], "execution");
            Err(answer.error())
        }
        other => panic!("{other}: {}", answer.error()),
    }
}

const SERIES: &str = "/api/v1/series?match[]=up";

#[tokio::test]
async fn more_series_than_a_tenant_may_read_are_refused_unless_a_limit_leaves_few() {
    let routes = nine(QueryBounds { max_series: 4, ..QueryBounds::default() }, 0);
    let as_a = async |path: &str| counted(&routes, Some("a"), path).await;
    let refused = as_a(SERIES).await.unwrap_err();
    assert!(refused.contains("at least 9 series for up, the limit is 4"), "{refused}");
    for limit in [1, 4] {
        let path = format!("{SERIES}&limit={limit}");
        assert_eq!(as_a(&path).await, Ok(limit));
        let answer = get_as(&routes, Some("a"), &path).await.json();
        assert_eq!(answer["warnings"][0], "results truncated due to limit");
    }
    assert!(as_a(&format!("{SERIES}&limit=5")).await.is_err());
    assert_eq!(as_a("/api/v1/series?match[]=up{job=~\"job-[0-3]\"}").await, Ok(4));
    // Selectors count together, and a series that two of them find counts once.
    let two = "/api/v1/series?match[]=up{job=~\"job-[0-2]\"}&match[]=up{job=~\"job-[1-3]\"}";
    assert_eq!(as_a(two).await, Ok(4));
    let refused = as_a(&format!("{two}&match[]=up{{job=\"job-8\"}}")).await.unwrap_err();
    assert!(refused.contains("at least 5 series for all selectors together"), "{refused}");
    // As for queries: the tightest of several tenants, the defaults of who names none.
    assert!(counted(&routes, Some("b|a"), SERIES).await.is_err());
    assert_eq!(counted(&routes, None, SERIES).await, Ok(9));
    // No series are answered here, so none count.
    assert_eq!(as_a("/api/v1/label/job/values?match[]=up").await, Ok(9));
}

#[tokio::test]
async fn the_bound_of_the_process_holds_for_series_of_any_tenant() {
    let routes = nine(QueryBounds::default(), 3);
    for tenant in [None, Some("a")] {
        let refused = counted(&routes, tenant, SERIES).await.unwrap_err();
        assert!(refused.contains("series for up, the limit is 3"), "{refused}");
        assert_eq!(counted(&routes, tenant, &format!("{SERIES}&limit=3")).await, Ok(3));
    }
}

#[tokio::test]
async fn bytes_of_labels_names_and_values_are_bounded() {
    let with = |max_bytes| nine(QueryBounds { max_bytes, ..QueryBounds::default() }, 0);
    for (path, enough, too_few, culprit, n) in [
        (SERIES, 9 * 64, 60, "bytes for up,", 9),
        ("/api/v1/labels", 20, 19, "bytes for label names of {},", 3),
        ("/api/v1/labels?match[]=up", 20, 19, "bytes for label names of up,", 3),
        ("/api/v1/label/job/values", 9 * 5, 44, "bytes for values of label job of {},", 9),
    ] {
        assert_eq!(counted(&with(enough), Some("a"), path).await, Ok(n), "{path}");
        let refused = counted(&with(too_few), Some("a"), path).await.unwrap_err();
        assert!(
            refused.contains(culprit) && refused.contains(&format!("the limit is {too_few}")),
            "{refused}"
        );
        assert_eq!(counted(&with(too_few), None, path).await, Ok(n), "{path}");
    }
    // Eight of nine values are not kept.
    assert_eq!(counted(&with(44), Some("a"), "/api/v1/label/job/values?limit=1").await, Ok(1));
}

/// Lets a minute pass when it is asked, and never answers.
struct Stuck {
    clock: Arc<ManualClock>,
    asked: Mutex<Vec<Cancel>>,
}

impl Stuck {
    async fn wait<T>(&self, cancel: &Cancel) -> T {
        self.asked.lock().unwrap().push(cancel.clone());
        self.clock.advance(Duration::from_secs(60));
        std::future::pending().await
    }
}

#[async_trait]
impl StoreApi for Stuck {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: "stuck".into(), min_ms: 0, max_ms: 100, label_sets: vec![] }
    }

    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        self.wait(&request.bounds.cancel).await
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        self.wait(&request.bounds.cancel).await
    }

    async fn label_values(&self, _: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        self.wait(&request.bounds.cancel).await
    }
}

#[tokio::test]
async fn out_of_time_is_a_503_and_the_store_is_told_to_stop() {
    let clock = Arc::new(ManualClock::starting_at(1_000_000));
    let stuck = Arc::new(Stuck { clock: clock.clone(), asked: Mutex::default() });
    let routes = routes(stuck.clone(), clock, |o| {
        o.timeout = Duration::from_secs(3600);
        let bounds = QueryBounds { timeout: Duration::from_secs(30), ..QueryBounds::default() };
        o.tenant_bounds = Some(Arc::new(OfA(bounds)));
    });
    for (path, what) in [
        (SERIES, "reading series"),
        ("/api/v1/labels", "reading labels"),
        ("/api/v1/label/job/values", "reading labels"),
    ] {
        let answer = get_as(&routes, Some("a"), path).await;
        let error = answer.json();
        assert_eq!((answer.status, &error["errorType"]), (503, &"timeout".into()), "{path}");
        assert_eq!(answer.error(), format!("query timed out in {what}"));
    }
    let asked = stuck.asked.lock().unwrap();
    assert!(asked.len() == 3 && asked.iter().all(Cancel::is_cancelled));
}
