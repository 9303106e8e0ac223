//! Random expressions over random data: the engine against an evaluator that looks at everything anew at every
//! step, straight from the syntax tree; and against itself, where one query says the same twice and the other does not.

mod naive;

use cairn_model::{Labels, STALE_NAN_BITS};
use std::sync::Arc;

use cairn_promql::engine::ColumnsOnly;
use cairn_promql::memory::{MemoryEngine, MemoryStore};
use cairn_promql::parser::{Features, parse};
use cairn_promql::value::SampleValue;
use cairn_promql::{Engine, EngineOptions, QueryOptions, QueryValue};
use cairn_runtime::{CpuPool, ManualClock};
use futures::FutureExt;
use naive::{Answer, Naive};
use proptest::prelude::*;

const START_MS: i64 = 300_000;
const END_MS: i64 = 900_000;

/// Series as times and values.
type Data = Vec<Vec<(i64, f64)>>;

/// Nine counters, 15 s apart with jitter, with resets, gaps, stale markers and odd values. A seed stands for them,
/// so that a failure prints one number.
fn data(seed: u64) -> Data {
    let mut state = seed;
    let mut random = |below: u64| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below
    };
    let odd = random(4) == 0; // NaN and infinities hide other differences, so most data has none
    let mut series = || {
        let mut value = 0.0;
        let mut samples = Vec::new();
        for i in 0..62 {
            let t = i * 15_000 + random(4_000) as i64;
            let v = match random(50) {
                0..4 => continue,
                4 => f64::from_bits(STALE_NAN_BITS),
                5 if odd => f64::NAN,
                6 if odd => f64::INFINITY,
                7 | 8 => {
                    value = 0.0;
                    value
                }
                _ => {
                    value += random(1000) as f64 / 8.0;
                    value
                }
            };
            samples.push((t, v));
        }
        samples
    };
    (0..9).map(|_| series()).collect()
}

fn labels(i: usize) -> Labels {
    let (name, a, b) = (["m0_total", "m1_total", "m2"][i / 3], ["x", "y", "z"][i % 3], ["p", "q"][i % 2]);
    Labels::from_pairs([("__name__", name), ("a", a), ("b", b)]).unwrap()
}

fn store(data: &Data) -> MemoryStore {
    let mut store = MemoryStore::default();
    for (i, samples) in data.iter().enumerate() {
        store.add_floats(labels(i), samples.iter().copied());
    }
    store
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

fn selector() -> impl Strategy<Value = String> {
    let name = one_of(&[
        "m0_total",
        "m1_total",
        "m2",
        r#"m0_total{a="x"}"#,
        r#"m1_total{b!="p"}"#,
        r#"m2{a=~"x|z"}"#,
    ]);
    let modifier =
        one_of(&["", "", "", " offset 45s", " offset -20s", " @ 512.5", " @ start()", " @ end() offset 1m"]);
    (name, modifier).prop_map(|(n, m)| format!("{n}{m}"))
}

/// A selector with `[range]` in the right place.
fn matrix() -> impl Strategy<Value = String> {
    (selector(), one_of(&["20s", "1m", "90s", "4m"])).prop_map(|(s, range)| match s.split_once(' ') {
        Some((name, modifier)) => format!("{name}[{range}] {modifier}"),
        None => format!("{s}[{range}]"),
    })
}

const OVER_RANGES: &[&str] = &[
    "rate",
    "increase",
    "delta",
    "irate",
    "idelta",
    "sum_over_time",
    "avg_over_time",
    "min_over_time",
    "max_over_time",
    "count_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "stddev_over_time",
    "changes",
    "resets",
    "deriv",
    "ts_of_max_over_time",
];

/// Those that do not tell rounding apart, for ranges of computed values.
const SMOOTH: &[&str] =
    &["delta", "sum_over_time", "avg_over_time", "max_over_time", "count_over_time", "last_over_time"];

const AGGREGATIONS: &[&str] = &["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar"];

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        3 => selector(),
        5 => (one_of(OVER_RANGES), matrix()).prop_map(|(f, m)| format!("{f}({m})")),
        1 => (0u8..5, matrix()).prop_map(|(q, m)| format!("quantile_over_time({}, {m})", f64::from(q) / 4.0)),
        1 => (one_of(&["topk", "bottomk", "limitk"]), 0u8..4, one_of(&["", "by (b) "]), selector())
            .prop_map(|(f, k, by, s)| format!("{f} {by}({k}, {s})")),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            4 => (one_of(AGGREGATIONS), one_of(&["", "by (a) ", "by (a, b) ", "without (b) ", "by (nope) "]), inner.clone())
                .prop_map(|(f, by, e)| format!("{f} {by}({e})")),
            1 => (0u8..5, inner.clone()).prop_map(|(q, e)| format!("quantile by (b) ({}, {e})", f64::from(q) / 4.0)),
            2 => (one_of(&["abs", "sqrt", "-", "timestamp"]), inner.clone()).prop_map(|(f, e)| format!("{f}({e})")),
            2 => (inner.clone(), one_of(&["+", "-", "*", "/", ">", "<= bool", "!="]), 0u16..300)
                .prop_map(|(e, op, n)| format!("({e}) {op} {n}")),
            2 => (inner.clone(), one_of(&["+", "/", ">", "== bool", "and", "or", "unless"]),
                one_of(&["", "on (a) ", "ignoring (b) ", "on (a, b) "]), inner.clone())
                .prop_map(|(l, op, on, r)| format!("({l}) {op} {on}({r})")),
            1 => (one_of(&["*", "-"]), inner.clone(), inner.clone())
                .prop_map(|(op, l, r)| format!("({l}) {op} on (b) group_left () (max by (b) ({r}))")),
            2 => (one_of(SMOOTH), inner.clone(), one_of(&["2m:20s", "90s:", "1m:7s"]), one_of(&["", " offset 30s", " @ 600"]))
                .prop_map(|(f, e, range, at)| format!("{f}(({e})[{range}]{at})")),
            1 => (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) + scalar({b})")),
            1 => (inner.clone(), one_of(&["/", "-", "or"]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} (({a}) + ({b}))")),
            1 => (one_of(AGGREGATIONS), inner.clone())
                .prop_map(|(f, e)| format!("sum by (a) ({e}) * on () group_left () {f}({e})")),
            1 => inner.prop_map(|e| format!("absent({e}) + 1")),
        ]
    })
}

/// The engine's answer at every step: labels to value.
fn engine_answer(engine: &MemoryEngine, query: &str, step_ms: i64) -> Result<Vec<Answer>, String> {
    let steps = (END_MS - START_MS) / step_ms + 1;
    let mut out = vec![Answer::default(); steps as usize];
    let result = engine.query_range(query, START_MS, END_MS, step_ms).map_err(|e| e.to_string())?;
    let QueryValue::Matrix(m) = result.value else { panic!("a range query answers a matrix") };
    for s in m {
        for p in s.floats {
            out[((p.t_ms - START_MS) / step_ms) as usize].insert(s.labels.to_string(), p.value);
        }
    }
    Ok(out)
}

fn instant_answer(engine: &MemoryEngine, query: &str, t_ms: i64) -> Result<Answer, String> {
    Ok(match engine.query_instant(query, t_ms).map_err(|e| e.to_string())?.value {
        QueryValue::Vector(v) => v
            .into_iter()
            .map(|s| match s.value {
                SampleValue::Float(f) => (s.labels.to_string(), f),
                SampleValue::Histogram(h) => panic!("no histogram was stored, got {h}"),
            })
            .collect(),
        QueryValue::Scalar(p) => [("{}".to_owned(), p.value)].into_iter().collect(),
        other => panic!("unexpected {other:?}"),
    })
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-7 * a.abs().max(b.abs()).max(1e-3)
}

fn check(what: &str, got: &Answer, want: &Answer) -> Result<(), TestCaseError> {
    let keys = |a: &Answer| a.keys().cloned().collect::<Vec<_>>();
    prop_assert_eq!(keys(got), keys(want), "{}", what);
    for (labels, v) in want {
        prop_assert!(same(got[labels], *v), "{what}: {labels}: {} instead of {v}", got[labels]);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_engine_answers_as_looking_at_everything_does(
        seed in 0u64..1 << 20,
        query in expression(),
        step_ms in 5_000i64..70_000,
    ) {
        let data = data(seed);
        let expr = parse(&query, Features::all()).expect("generated expressions parse");
        let mut engine = MemoryEngine::new(|o| o.features = Features::all());
        engine.store = store(&data);
        let series: Vec<_> = data.iter().enumerate().map(|(i, s)| (labels(i), s.clone())).collect();
        let naive = Naive { series: &series, start_ms: START_MS, end_ms: END_MS };
        let steps = (END_MS - START_MS) / step_ms + 1;
        let want: Result<Vec<Answer>, String> =
            (0..steps).map(|k| naive.answer(&expr, START_MS + k * step_ms)).collect();
        match (engine_answer(&engine, &query, step_ms), want) {
            (Ok(got), Ok(want)) => {
                for (k, (got, want)) in got.iter().zip(&want).enumerate() {
                    check(&format!("{query} at step {k}"), got, want)?;
                }
            }
            (Err(_), Err(_)) => {}
            (got, want) => prop_assert!(false, "{query}: {got:?} instead of {want:?}"),
        }
        let t = START_MS + (steps / 2) * step_ms;
        let naive = Naive { start_ms: t, end_ms: t, ..naive };
        match (instant_answer(&engine, &query, t), naive.answer(&expr, t)) {
            (Ok(got), Ok(want)) => check(&format!("{query} at {t}"), &got, &want)?,
            (Err(_), Err(_)) => {}
            (got, want) => prop_assert!(false, "{query} at {t}: {got:?} instead of {want:?}"),
        }
    }
}

/// Uses of two expressions that may be the same.
const PAIRS: &[&str] = &[
    "(A) / (B)",
    "(A) or ((B) + 1)",
    "sum by (a) (A) - on (a) (quantile by (a) (1.5, B))",
    "avg(A) > bool (count(B) * 2)",
    "topk by (b) (1, A) or (abs(B))",
    "(A) + scalar(B)",
    "max_over_time((A)[1m:20s]) or min_over_time((B)[1m:20s])",
    "sum(A) + (sum(max_over_time((B)[2m:15s])) - sum(A))",
];

/// `query` with a matcher in each selector that all series fulfil, as they lack the label.
fn where_label_is_missing(label: &str, query: &str) -> String {
    let mut out = query.to_owned();
    for name in ["m0_total", "m1_total", "m2"] {
        out = out.replace(name, &format!("{name}{{{label}=\"\"}}"));
    }
    out.replace("}{", ", ")
}

/// All that `query` answers, its statistics included.
fn everything(store: &MemoryStore, query: &str, step_ms: i64) -> String {
    let mut options =
        EngineOptions::new(Arc::new(ColumnsOnly), CpuPool::inline(), Arc::new(ManualClock::starting_at(0)));
    options.features = Features::all();
    options.per_step_stats = true;
    let query_options = QueryOptions { samples_per_step: true, ..QueryOptions::default() };
    let range = Engine::new(options);
    let result = range.range(store, query, START_MS, END_MS, step_ms, &query_options).now_or_never();
    match result.expect("a query in memory does not wait") {
        Err(e) => e.to_string(),
        Ok(r) => {
            let s = r.stats;
            let counts = (s.total_queryable_samples, s.samples_read, s.samples_per_step);
            format!("{:?}\n{:?}\n{:?}\n{counts:?}", r.value, r.warnings, r.infos)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn saying_the_same_twice_is_as_saying_it_in_two_ways(
        seed in 0u64..1 << 20,
        e in expression(),
        pair in one_of(PAIRS),
        step_ms in 5_000i64..70_000,
    ) {
        // Texts of equal length, so that the positions in notes are equal too.
        let [n, k] = ["n", "k"].map(|label| where_label_is_missing(label, &e));
        let store = store(&data(seed));
        let (same, different) = (pair.replace('A', &n), pair.replace('A', &n));
        let (same, different) = (same.replace('B', &n), different.replace('B', &k));
        prop_assert_eq!(
            everything(&store, &same, step_ms), everything(&store, &different, step_ms), "{}", same
        );
    }
}
