//! The runner itself: every kind of wrong expectation is found, every right one passes.

use cairn_promql::memory::MemoryEngine;
use cairn_promql::testlang::{Outcome, Script, run};

const LOAD: &str = r#"
load 1m
  up{job="a"} 1 2 3 4 5
  up{job="b"} 10 20 30 40 50
  gone 1 2 stale
  h {{schema:0 count:3 sum:5 buckets:[1 2]}} {{schema:0 count:6 sum:10 buckets:[2 4]}} {{schema:0 count:9 sum:15 buckets:[3 6]}}
  g {{schema:0 count:3 sum:5 counter_reset_hint:gauge buckets:[1 2]}}
"#;

/// A right expectation and the same one gone wrong.
const CASES: [(&str, &str); 20] = [
    // values
    (
        "eval instant at 1m up\n up{job=\"a\"} 2\n up{job=\"b\"} 20",
        "eval instant at 1m up\n up{job=\"a\"} 2.001\n up{job=\"b\"} 20",
    ),
    (
        "eval instant at 1m up{job=\"a\"} / 0\n {job=\"a\"} Inf",
        "eval instant at 1m up{job=\"a\"} / 0\n {job=\"a\"} NaN",
    ),
    ("eval instant at 1m 2 * 3\n 6", "eval instant at 1m 2 * 3\n 6.1"),
    ("eval instant at 1m \"a\"\n expect string \"a\"", "eval instant at 1m \"a\"\n expect string \"b\""),
    // series
    (
        "eval instant at 1m up{job=\"a\"}\n up{job=\"a\"} 2",
        "eval instant at 1m up{job=\"a\"}\n up{job=\"c\"} 2",
    ),
    ("eval instant at 1m up{job=\"b\"}\n up{job=\"b\"} 20", "eval instant at 1m up\n up{job=\"b\"} 20"),
    ("eval instant at 2m gone", "eval instant at 2m gone\n gone 2"),
    ("eval instant at 1m sum(up)\n {} 22", "eval instant at 1m sum(up)\n 22"),
    // order
    (
        "eval instant at 1m sort_desc(up)\n expect ordered\n up{job=\"b\"} 20\n up{job=\"a\"} 2",
        "eval instant at 1m sort_desc(up)\n expect ordered\n up{job=\"a\"} 2\n up{job=\"b\"} 20",
    ),
    (
        "eval_ordered instant at 1m sort(up)\n up{job=\"a\"} 2\n up{job=\"b\"} 20",
        "eval_ordered instant at 1m sort(up)\n up{job=\"b\"} 20\n up{job=\"a\"} 2",
    ),
    // histograms
    (
        "eval instant at 1m h\n h {{schema:0 count:6 sum:10 buckets:[2 4]}}",
        "eval instant at 1m h\n h {{schema:0 count:6 sum:10 buckets:[2 4.1]}}",
    ),
    (
        "eval instant at 0m g\n g {{schema:0 count:3 sum:5 counter_reset_hint:gauge buckets:[1 2]}}",
        "eval instant at 0m g\n g {{schema:0 count:3 sum:5 counter_reset_hint:not_reset buckets:[1 2]}}",
    ),
    ("eval instant at 1m h\n h {{schema:0 count:6 sum:10 buckets:[2 4 0]}}", "eval instant at 1m h\n h 6"),
    // failures
    (
        "eval instant at 1m label_replace(up, \"job\", \"x\", \"\", \"\")\n expect fail msg: vector cannot contain metrics with the same labelset",
        "eval instant at 1m label_replace(up, \"job\", \"x\", \"\", \"\")\n expect fail msg: something else",
    ),
    (
        "eval instant at 1m up{job=\"a\"} + 1\n {job=\"a\"} 3",
        "eval instant at 1m up{job=\"a\"} + 1\n expect fail",
    ),
    (
        "eval_fail instant at 1m label_replace(up, \"job\", \"x\", \"\", \"\")",
        "eval instant at 1m label_replace(up, \"job\", \"x\", \"\", \"\")\n {job=\"x\"} 2",
    ),
    // notes
    (
        "eval instant at 1m quantile(2, up)\n expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)\n {} Inf",
        "eval instant at 1m quantile(2, up)\n expect warn msg: PromQL warning: quantile value should be between 0 and 1, got 2 (1:11)\n {} Inf",
    ),
    (
        "eval instant at 1m quantile(0.5, up{job=\"a\"})\n expect no_warn\n {} 2",
        "eval instant at 1m quantile(2, up)\n expect no_warn\n {} Inf",
    ),
    (
        "eval instant at 2m rate(up{job=\"a\"}[2m])\n expect info regex: metric might not be a counter\n {job=\"a\"} 0.016666666666666666",
        "eval instant at 2m rate(up{job=\"a\"}[2m])\n expect no_info\n {job=\"a\"} 0.016666666666666666",
    ),
    // ranges
    (
        "eval range from 0 to 2m step 1m up{job=\"a\"}\n up{job=\"a\"} 1 2 3",
        "eval range from 0 to 2m step 1m up{job=\"a\"}\n up{job=\"a\"} 1 2 _",
    ),
];

fn outcome(evals: impl Iterator<Item = &'static str>) -> Outcome {
    let text = format!("{LOAD}\n{}\n", evals.collect::<Vec<_>>().join("\n\n"));
    let script = Script::parse(&text).expect("the script is well formed");
    assert_eq!(script.evals(), CASES.len());
    run(&script, &mut MemoryEngine::for_tests())
}

#[test]
fn twenty_right_expectations_pass() {
    let got = outcome(CASES.iter().map(|c| c.0));
    let failures: Vec<String> = got.failures.iter().map(ToString::to_string).collect();
    assert_eq!((got.passed, failures), (20, Vec::new()));
}

#[test]
fn twenty_wrong_expectations_are_reported_each_at_its_line() {
    let got = outcome(CASES.iter().map(|c| c.1));
    assert_eq!((got.passed, got.failures.len()), (0, 20), "{:#?}", got.failures);
    assert!(got.failures.windows(2).all(|w| w[0].line < w[1].line));
    for failure in &got.failures {
        assert!(failure.reason.contains("expected") && failure.reason.contains("got"), "{failure}");
    }
}

#[test]
fn a_load_that_does_not_work_fails_what_depends_on_it_until_the_next_clear() {
    let text = "load_with_nhcb 1m\n x_bucket{le=\"1\"} 3\n x_bucket{le=\"2\"} 2\n\neval instant at 0 x\n\nclear\n\neval instant at 0 x\n";
    let got = run(&Script::parse(text).expect("well formed"), &mut MemoryEngine::for_tests());
    assert_eq!((got.passed, got.failures.len()), (1, 1));
    assert!(
        got.failures[0].to_string().starts_with("5: x: expected the load of line 1 to work"),
        "{}",
        got.failures[0]
    );
}
