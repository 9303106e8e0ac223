//! The parser against what Prometheus 3.14 made of the same expressions (see testdata/README.md): accepted or
//! refused alike, the same error texts with positions, the same printed and prettified text, the same positions.

use cairn_promql::parser::{Expr, Features, parse, prettify, to_json};
use serde_json::Value;

const GOLDEN: &str = include_str!("../testdata/parser/prometheus-3.14.jsonl");

const TREES: &str = include_str!("../testdata/parser/parse-query-3.14.jsonl");

/// Expressions that differ on purpose, and why.
const DIFFERENT: [(&str, &str); 1] =
    [("info(up, {})", "Prometheus prints `info(up, )`, which does not parse")];

fn starts(expr: &Expr) -> Vec<u64> {
    let mut found = Vec::new();
    expr.walk(&mut |e| {
        found.push(u64::from(e.span().start));
        if let Expr::Matrix(m) = e {
            found.push(u64::from(m.selector.span.start));
        }
    });
    found
}

#[test]
fn every_expression_is_read_as_prometheus_reads_it() {
    let (mut errors, mut accepted, mut wrong) = (0, 0, Vec::new());
    for line in GOLDEN.lines() {
        let case: Value = serde_json::from_str(line).expect("golden lines are JSON");
        let query = case["query"].as_str().expect("a case has a query");
        let features = if case["features"] == "all" { Features::all() } else { Features::default() };
        let (got, want) = match parse(query, features) {
            Err(e) => {
                (serde_json::json!({"error": e.to_string()}), serde_json::json!({"error": case["error"]}))
            }
            Ok(e) => (
                serde_json::json!({"printed": e.to_string(), "pretty": prettify(&e), "starts": starts(&e)}),
                serde_json::json!({"printed": case["printed"], "pretty": case["pretty"], "starts": case["starts"]}),
            ),
        };
        if case["error"].is_string() {
            errors += 1
        } else {
            accepted += 1
        }
        if got != want && !DIFFERENT.iter().any(|(q, _)| *q == query) {
            wrong.push(format!("{query:?}\n  want {want}\n  got  {got}"));
        }
    }
    println!("{accepted} accepted, {errors} refused");
    assert!(accepted > 1_000 && errors > 900, "golden data is incomplete");
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), accepted + errors, wrong.join("\n"));
}

#[test]
fn trees_are_written_byte_by_byte_as_parse_query_writes_them() {
    let mut count = 0;
    for line in TREES.lines() {
        let (head, tree) = line.split_once(", \"json\": ").expect("a line has a query and its tree");
        let head: Value = serde_json::from_str(&format!("{head}}}")).expect("golden lines are JSON");
        let query = head["query"].as_str().expect("a line has a query");
        let expr = parse(query, Features::all()).unwrap_or_else(|e| panic!("{query}: {e}"));
        assert_eq!(to_json(&expr).as_deref(), Ok(&tree[..tree.len() - 1]), "{query}");
        count += 1;
    }
    assert!(count > 190, "golden data is incomplete");
    let unrepresentable = parse("a + fill(NaN) b", Features::all()).expect("is valid");
    assert!(to_json(&unrepresentable).is_err());
}
