//! The engine end to end over data in memory: what the language tests do not say.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::sample::Sample;
use cairn_model::storage::WantedLabels;
use cairn_model::tenant::TenantScope;
use cairn_model::{FloatHistogram, Labels, TenantId, Value};
use cairn_promql::engine::planner::PlanTimes;
use cairn_promql::engine::{Cancel, ColumnsOnly, QueryBounds, TenantBounds};
use cairn_promql::memory::{MemoryStore, fuzz_evaluate};
use cairn_promql::parser::{Features, MAX_DEPTH, parse};
use cairn_promql::value::{FloatPoint, SampleValue};
use cairn_promql::{Engine, EngineOptions, ErrorKind, QueryError, QueryOptions, QueryValue};
use cairn_runtime::{CpuPool, ManualClock};
use futures::FutureExt;

/// An engine with Prometheus' defaults, changed by `edit`.
fn engine(edit: impl FnOnce(&mut EngineOptions)) -> Engine {
    let clock = Arc::new(ManualClock::starting_at(0));
    let mut options = EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), clock);
    edit(&mut options);
    Engine::new(options)
}

/// Runs a future that has nothing to wait for.
fn wait<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a query in memory does not wait")
}

fn add(store: &mut MemoryStore, labels: &[(&str, &str)], samples: &[(i64, f64)]) {
    let labels = Labels::from_pairs(labels.iter().copied()).unwrap();
    store.add_floats(labels, samples.iter().copied());
}

/// Three counters of two jobs, 15 s apart for an hour.
fn store() -> MemoryStore {
    let mut store = MemoryStore::default();
    for (i, (job, instance)) in [("a", "1"), ("a", "2"), ("b", "1")].into_iter().enumerate() {
        let rate = (i + 1) as f64;
        let samples: Vec<_> = (0..=240).map(|n| (n * 15_000, rate * 15.0 * n as f64)).collect();
        add(&mut store, &[("__name__", "x_total"), ("job", job), ("instance", instance)], &samples);
    }
    store
}

fn vector(engine: &Engine, store: &MemoryStore, query: &str, t_ms: i64) -> Vec<(String, f64)> {
    let result = wait(engine.instant(store, query, t_ms, &QueryOptions::default())).unwrap();
    let QueryValue::Vector(v) = result.value else { panic!("{query}: not a vector") };
    v.into_iter()
        .map(|s| match s.value {
            SampleValue::Float(f) => (s.labels.to_string(), (f * 1e9).round() / 1e9),
            SampleValue::Histogram(h) => panic!("{query}: {h}"),
        })
        .collect()
}

fn error(engine: &Engine, store: &MemoryStore, query: &str) -> QueryError {
    wait(engine.range(store, query, 0, 3_600_000, 60_000, &QueryOptions::default())).unwrap_err()
}

#[test]
fn selectors_rates_sums_and_ratios() {
    let (e, s) = (engine(|_| {}), store());
    let t = 3_600_000;
    assert_eq!(
        vector(&e, &s, "sum by (job) (rate(x_total[5m]))", t),
        [(r#"{job="a"}"#.to_owned(), 3.0), (r#"{job="b"}"#.to_owned(), 3.0),]
    );
    assert_eq!(
        vector(&e, &s, r#"x_total{job="b"} / 2"#, t),
        [(r#"{instance="1", job="b"}"#.to_owned(), 5400.0)]
    );
    assert_eq!(vector(&e, &s, "sum(rate(x_total[5m])) / on () count(x_total)", t), [("{}".to_owned(), 2.0)]);
    assert_eq!(
        vector(&e, &s, "topk(1, x_total)", t),
        [(r#"x_total{instance="1", job="b"}"#.to_owned(), 10800.0)]
    );
    assert_eq!(vector(&e, &s, "x_total", t + 300_000), [], "a sample is too old after exactly five minutes");
}

#[test]
fn a_range_query_answers_a_matrix_in_order_of_labels() {
    let (e, s) = (engine(|_| {}), store());
    let result =
        wait(e.range(&s, "max by (job) (x_total)", 0, 120_000, 60_000, &QueryOptions::default())).unwrap();
    let QueryValue::Matrix(m) = result.value else { panic!("not a matrix") };
    let point = |t_ms, value| FloatPoint { t_ms, value };
    assert_eq!(m.len(), 2);
    assert_eq!(m[0].labels, Labels::from_pairs([("job", "a")]).unwrap());
    assert_eq!(m[0].floats, [point(0, 0.0), point(60_000, 120.0), point(120_000, 240.0)]);
    assert!(result.stats.total_queryable_samples >= 9 && result.stats.series == 3);
}

#[test]
fn names_that_go_must_leave_series_apart() {
    let mut s = MemoryStore::default();
    add(&mut s, &[("__name__", "a_total"), ("l", "1")], &[(0, 1.0), (60_000, 2.0)]);
    add(&mut s, &[("__name__", "b_total"), ("l", "1")], &[(0, 1.0), (60_000, 2.0)]);
    let e = engine(|_| {});
    for query in [r#"rate({l="1"}[5m])"#, r#"sum(rate({l="1"}[5m]))"#, r#"abs({l="1"})"#] {
        let err = wait(e.instant(&s, query, 60_000, &QueryOptions::default())).unwrap_err();
        assert_eq!(err.to_string(), "vector cannot contain metrics with the same labelset", "{query}");
        assert_eq!(err.kind(), ErrorKind::Execution);
    }
    let delayed = engine(|o| o.delayed_name_removal = true);
    assert_eq!(vector(&delayed, &s, r#"count by (l) (rate({l="1"}[5m]))"#, 60_000).len(), 1);
}

#[test]
fn budgets_end_a_query_with_the_culprit() {
    let s = store();
    let e = engine(|o| o.max_samples = 100);
    assert!(matches!(error(&e, &s, "x_total"), QueryError::TooManySamples));
    let e = engine(|o| o.max_series = 2);
    let err = error(&e, &s, r#"sum(x_total{job="b"}) + sum(x_total)"#);
    assert_eq!(err.kind(), ErrorKind::Execution);
    assert!(
        err.to_string().starts_with("query needs at least 4 series for x_total, the limit is 2"),
        "{err}"
    );
    let e = engine(|o| o.max_bytes = 1000);
    assert!(matches!(error(&e, &s, "x_total"), QueryError::Budget { what, .. } if what == "bytes"));
    let e = engine(|o| o.max_steps = 1000);
    let err = error(&e, &s, "max_over_time(x_total[1h:1s])");
    assert!(err.to_string().contains("x_total[1h:1s]"), "{err}");
}

/// Tenant `a` may read two series; everybody else what the engine lets them.
struct TwoSeriesForA;

impl TenantBounds for TwoSeriesForA {
    fn bounds(&self, tenants: &TenantScope) -> QueryBounds {
        let is_a = matches!(tenants, TenantScope::Only(_)) && tenants.contains("a");
        QueryBounds { max_series: if is_a { 2 } else { 0 }, ..QueryBounds::default() }
    }
}

#[test]
fn a_tenants_bounds_hold_for_its_queries_alone() {
    let s = store();
    let e = engine(|o| o.tenant_bounds = Some(Arc::new(TwoSeriesForA)));
    let asked = |tenant: &str| {
        let tenants = TenantScope::Only(vec![TenantId::new(tenant).unwrap()]);
        let options = QueryOptions { tenants, ..QueryOptions::default() };
        wait(e.instant(&s, "count(x_total)", 3_600_000, &options)).map(|r| r.stats.series)
    };
    assert!(
        matches!(asked("a"), Err(QueryError::Budget { what, needed: 3, limit: 2, .. }) if what == "series")
    );
    assert_eq!(asked("b").unwrap(), 3);
    assert_eq!(vector(&e, &s, "count(x_total)", 3_600_000), [("{}".to_owned(), 3.0)]);
}

#[test]
fn cancelled_and_late_queries_end() {
    let s = store();
    let cancel = Cancel::new();
    cancel.cancel();
    let options = QueryOptions { cancel, ..QueryOptions::default() };
    let err = wait(engine(|_| {}).instant(&s, "x_total", 0, &options)).unwrap_err();
    assert_eq!(
        (err.kind(), err.to_string().as_str()),
        (ErrorKind::Canceled, "query was canceled in expression evaluation")
    );
    let err = error(&engine(|o| o.timeout = Duration::ZERO), &s, "x_total");
    assert_eq!(err.kind(), ErrorKind::Timeout);
}

#[test]
fn what_is_wrong_with_a_query_is_bad_data() {
    let (e, s) = (engine(|_| {}), store());
    for query in ["sum(", "x_total[5m]", "rate(x_total[5m/0])"] {
        assert_eq!(error(&e, &s, query).kind(), ErrorKind::BadData, "{query}");
    }
    assert_eq!(
        error(&e, &s, "x_total[5m]").to_string(),
        r#"invalid expression type "range vector" for range query, must be Scalar or instant Vector"#
    );
}

#[test]
fn series_without_a_result_do_not_collide() {
    let mut s = MemoryStore::default();
    add(&mut s, &[("__name__", "a"), ("l", "1")], &[(0, 1.0), (60_000, 2.0)]);
    add(&mut s, &[("__name__", "b"), ("l", "1")], &[(60_000, 2.0)]);
    let e = engine(|_| {});
    assert_eq!(
        vector(&e, &s, r#"sum(deriv({l="1"}[5m])) * 60"#, 60_000),
        [("{}".to_owned(), 1.0)],
        "one sample gives no slope"
    );
}

#[test]
fn a_partner_without_meaning_for_the_operator_is_filled() {
    let mut s = MemoryStore::default();
    add(&mut s, &[("__name__", "f"), ("l", "1")], &[(0, 7.0)]);
    let histogram = Value::FloatHistogram(Arc::new(FloatHistogram { count: 1.0, ..Default::default() }));
    let sample = Sample { t_ms: 0, start_ms: 0, value: histogram };
    s.add(Labels::from_pairs([("__name__", "h"), ("l", "1")]).unwrap(), [sample]);
    let e = engine(|o| o.features = Features::all());
    let query = "f % on (l) group_right () fill_left (4) h";
    assert_eq!(vector(&e, &s, query, 0), [(r#"{l="1"}"#.to_owned(), 3.0)]);
    let result = wait(e.instant(&s, "quantile_over_time(2, f[1m])", 0, &QueryOptions::default())).unwrap();
    assert_eq!(result.warnings, ["PromQL warning: quantile value should be between 0 and 1, got 2 (1:20)"]);
}

#[test]
fn the_ends_of_time_do_no_harm() {
    for modifier in [
        "",
        " @ 9.2e15",
        " @ -9.2e15",
        " offset 290y",
        " offset -290y",
        " @ 9.2e15 offset -290y",
        " @ -9.2e15 offset 290y",
    ] {
        for query in [
            "f_total",
            "f_total smoothed",
            "timestamp(f_total)",
            "info(up)",
            "rate(f_total[5m])",
            "rate(f_total[290y])",
            "rate(f_total[290y] smoothed)",
            "changes(f_total[290y] anchored)",
            "sum_over_time(f_total[290y:290y])",
            "max_over_time(f_total[290y:1ms])",
            "absent_over_time(nope[290y])",
            "f_total[290y] smoothed",
            "f_total[290y:280y]",
        ] {
            let query = match query.rfind([']', 'l', 'p', 'd']).filter(|_| query.ends_with(')')) {
                Some(at) => format!("{}{modifier}{}", &query[..=at], &query[at + 1..]),
                None => format!("{query}{modifier}"),
            };
            fuzz_evaluate(query.as_bytes());
        }
    }
}

#[test]
fn mutilated_expressions_end_in_an_answer_or_an_error() {
    let corpus = include_str!("../testdata/parser/prometheus-3.14.jsonl");
    for (n, line) in corpus.lines().enumerate() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let query = case["query"].as_str().unwrap();
        fuzz_evaluate(query.as_bytes());
        let mut cut = query.as_bytes().to_vec();
        if !cut.is_empty() {
            let at = n % cut.len();
            cut.remove(at);
            fuzz_evaluate(&cut);
        }
    }
}

#[test]
fn the_deepest_expressions_fit_a_small_stack() {
    let deep = |depth: usize| format!("{}x_total{}", "abs(".repeat(depth), ")".repeat(depth));
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || {
            let (e, s) = (engine(|_| {}), store());
            let deepest = (1..=MAX_DEPTH).rev().find(|d| parse(&deep(*d), Features::all()).is_ok()).unwrap();
            assert!(deepest > 300, "{deepest}");
            assert_eq!(vector(&e, &s, &deep(deepest), 60_000).len(), 3);
            let chain = vec!["x_total"; 400].join(" + ");
            assert_eq!(vector(&e, &s, &chain, 60_000).len(), 3);
        })
        .unwrap()
        .join()
        .unwrap();
}

/// Labels that the first fetch of `query` asks for, `None` for all, and whether the newest sample is enough.
fn asked(engine: &Engine, query: &str) -> (Option<Vec<String>>, bool) {
    let times = PlanTimes { start_ms: 3_600_000, end_ms: 3_600_000, step_ms: 0 };
    let plan = engine.plan(query, times, &QueryOptions::default()).unwrap();
    let labels = match plan.fetches[0].labels.clone() {
        WantedLabels::All => None,
        WantedLabels::Only(names) => Some(names),
    };
    (labels, plan.fetches[0].hints.newest_only)
}

#[test]
fn stores_are_asked_for_what_is_looked_at() {
    let plain = engine(|_| {});
    for (query, labels, newest_only) in [
        ("x", None, true),
        ("count(x)", Some(&[][..]), true),
        (r#"count by (job) ({__name__=~".+"})"#, Some(&["job"]), true),
        // The metric's name is in notes on what cannot be added, and on rates of what is no counter.
        ("sum by (job) ((x))", Some(&["__name__", "job"]), true),
        ("sum by (job) (rate(x[1m]))", Some(&["__name__", "job"]), false),
        ("avg by (job, instance) (x offset 1m)", Some(&["__name__", "instance", "job"]), true),
        // Series of several names can be the same series once their names are gone.
        (r#"sum by (job) (rate({__name__=~"x|y"}[1m]))"#, None, false),
        ("sum without (job) (x)", None, true),
        ("topk by (job) (1, x)", None, true),
        (r#"count_values by (job) ("v", x)"#, None, true),
        ("sum(-x)", None, true),
        ("sum(abs(x))", None, true),
        ("sum(x > 1)", None, true),
        ("sum(timestamp(x))", None, true),
        ("sum(max_over_time(x[5m:1m]))", None, false),
        ("x smoothed", None, false),
        // One fetch serves both sides.
        ("sum by (job) (x) / sum by (instance) (x)", Some(&["__name__", "instance", "job"]), true),
        ("sum by (job) (x) / on (job) group_right x", None, true),
        ("sum by (job) (x) / sum by (job) (changes(x[5m]))", Some(&["__name__", "job"]), false),
    ] {
        let features = Features { extended_range_selectors: true, ..Features::default() };
        let engine = if query.contains("smoothed") { &engine(|o| o.features = features) } else { &plain };
        let labels = labels.map(|l| l.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(asked(engine, query), (labels, newest_only), "{query}");
    }
    let typed = engine(|o| o.type_and_unit_labels = true);
    assert_eq!(asked(&typed, "sum by (job) (rate(x[1m]))").0, None);
}
