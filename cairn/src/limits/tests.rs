use super::*;
use axum::body::Body;
use axum::http::Request;
use cairn_model::TenantId;
use cairn_runtime::{ManualClock, MemDisk, OpenHow, TcpNet};
use std::path::Path;
use tower::ServiceExt;

const FILE: &str = "/limits.yml";

/// A machine with a limits file that holds `text`.
struct World {
    disk: Arc<MemDisk>,
    clock: ManualClock,
    runtime: Runtime,
}

impl World {
    fn new(text: &str) -> Self {
        let (disk, clock) = (Arc::new(MemDisk::new()), ManualClock::starting_at(5_000));
        let mut runtime = Runtime::simulated(1, 5_000, Arc::new(TcpNet), disk.clone());
        runtime.clock = Arc::new(clock.clone());
        let world = World { disk, clock, runtime };
        world.write(text);
        world
    }

    fn write(&self, text: &str) {
        let file = self.disk.open(Path::new(FILE), OpenHow::CreateOrWrite).unwrap();
        file.set_len(0).unwrap();
        file.write_all_at(text.as_bytes(), 0).unwrap();
    }

    fn load(&self) -> Result<Arc<LimitsInForce>, LimitsError> {
        let source = LimitsSource::File(FILE.into());
        LimitsInForce::load(source, TenantLimits::default(), &self.runtime)
    }

    fn metric(&self, name: &str) -> Option<f64> {
        let text = self.runtime.metrics.render();
        text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

fn series_limit(limits: &LimitsInForce, tenant: &str) -> u64 {
    limits.write.active_series(&TenantId::new(tenant).unwrap())
}

#[test]
fn a_broken_file_keeps_the_limits_in_force_and_shows_in_a_metric() {
    let world = World::new("write: {tenants: {a: {head_series_limit: 7}}}");
    let limits = world.load().unwrap();
    assert_eq!(series_limit(&limits, "a"), 7);
    assert_eq!(world.metric("cairn_limits_last_reload_successful"), Some(1.0));
    assert_eq!(world.metric("cairn_limits_last_reload_success_timestamp_seconds"), Some(5.0));

    world.clock.advance(Duration::from_secs(60));
    world.write("write: {tenants: {a: {head_series_limit: many}}}");
    let e = limits.reload().unwrap_err().to_string();
    assert!(
        e.starts_with("--receive.limits-config-file /limits.yml: write.tenants.a.head_series_limit"),
        "{e}"
    );
    assert_eq!((series_limit(&limits, "a"), limits.is_current()), (7, false));
    assert_eq!(world.metric("cairn_limits_last_reload_successful"), Some(0.0));
    assert_eq!(world.metric("cairn_limits_last_reload_success_timestamp_seconds"), Some(5.0));

    world.write("write: {tenants: {a: {head_series_limit: 8}}}");
    limits.reload().unwrap();
    assert_eq!((series_limit(&limits, "a"), limits.is_current()), (8, true));
    assert_eq!(world.metric("cairn_limits_last_reload_success_timestamp_seconds"), Some(65.0));
}

#[test]
fn a_start_with_a_broken_file_is_refused() {
    let e = World::new("write: {tenant: {}}").load().err().unwrap().to_string();
    assert!(e.contains("did you mean \"tenants\"?"), "{e}");
    let source = LimitsSource::File("/no/such/file".into());
    let missing = LimitsInForce::load(source, TenantLimits::default(), &World::new("").runtime);
    assert!(missing.err().unwrap().to_string().contains("/no/such/file"));
}

#[test]
fn a_look_at_the_file_acts_on_a_change_alone() {
    let world = World::new("write: {default: {head_series_limit: 7}}");
    let limits = world.load().unwrap();
    let revision = limits.write.revision();
    limits.look();
    // The same limits in other words: known series need not be judged anew.
    world.write("# with a comment\nwrite: {default: {head_series_limit: 7}}");
    limits.look();
    assert_eq!(limits.write.revision(), revision);
    world.write("write: {default: {head_series_limit: 9}}");
    limits.look();
    assert_ne!(limits.write.revision(), revision);
    assert_eq!(series_limit(&limits, "a"), 9);
}

#[tokio::test]
async fn the_file_is_followed_until_the_stop() {
    let world = World::new("");
    let limits = world.load().unwrap();
    let shutdown = world.runtime.tasks.shutdown().clone();
    let mut watch = std::pin::pin!(limits.clone().watch(shutdown.clone()));
    assert!(futures::poll!(&mut watch).is_pending());
    world.write("query: {default: {max_series: 3}}");
    world.clock.advance(WATCH_EVERY);
    assert!(futures::poll!(&mut watch).is_pending());
    assert_eq!(limits.bounds(&TenantScope::All).max_series, 3);
    shutdown.begin();
    watch.await;
}

#[test]
fn of_several_tenants_the_tightest_bounds_hold() {
    let world = World::new(
        "query:
  default: {max_series: 100}
  tenants: {a: {max_series: 10, max_samples: 5}, b: {max_series: 20, timeout: 3s}}",
    );
    let limits = world.load().unwrap();
    let only = |names: &[&str]| {
        limits.bounds(&TenantScope::Only(names.iter().map(|n| TenantId::new(n).unwrap()).collect()))
    };
    assert_eq!(limits.bounds(&TenantScope::All).max_series, 100);
    assert_eq!(only(&["c"]).max_series, 100);
    let both = only(&["a", "b"]);
    assert_eq!((both.max_series, both.max_samples, both.timeout), (10, 5, Duration::from_secs(3)));
}

#[tokio::test]
async fn the_limits_in_force_can_be_read() {
    let world = World::new("write: {tenants: {a: {request: {size_bytes_limit: 1MiB}}}}");
    let routes = routes(world.load().unwrap());
    let ask = async |tenant: Option<&str>| {
        let mut request = Request::get("/api/v1/status/limits");
        if let Some(tenant) = tenant {
            request = request.header("THANOS-TENANT", tenant);
        }
        let answer = routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        serde_json::from_slice::<serde_json::Value>(&bytes).unwrap()
    };
    let all = ask(None).await;
    assert_eq!(all["data"]["write"]["default"]["request"]["size_bytes_limit"], 0);
    assert_eq!(all["data"]["write"]["default"]["late_window"], "6h");
    assert_eq!(all["data"]["write"]["tenants"]["a"]["request"]["size_bytes_limit"], 1 << 20);
    assert_eq!(all["data"]["query"]["default"]["max_series"], 0);
    let own = ask(Some("a")).await;
    assert_eq!(own["data"]["write"]["tenants"]["a"]["request"]["size_bytes_limit"], 1 << 20);
    assert_eq!(own["data"]["write"]["default"], serde_json::Value::Null, "others' limits are not told");
    assert_eq!(ask(Some("b")).await["data"]["write"]["tenants"]["b"]["head_series_limit"], 10_000_000);
    assert_eq!(ask(Some("a/b")).await["errorType"], "bad_data");
}
