//! The expressions of the PromQL compliance suite, as range queries over the demo data, with their statistics by step.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use cairn_tests::conformance::conformance;
use cairn_tests::templates::expand;
use serde::Deserialize;
use serde_json::Value;

use crate::ask::{ask, escape_value};
use crate::compare::{difference, normal};
use crate::pair::Pair;

/// Range and step of the queries, in seconds.
const RANGE_S: u64 = 3600;
const STEP_S: u64 = 60;

#[derive(Deserialize)]
struct Suite {
    test_cases: Vec<Case>,
}

/// The suite's `should_fail` is not read: some of its expressions are valid by now, and Prometheus is asked anyway.
#[derive(Deserialize)]
struct Case {
    query: String,
}

#[test]
fn the_compliance_suite_is_answered_as_prometheus_answers_it() -> Result<()> {
    let Some(path) = conformance("promql/promql-test-queries.yml") else { return Ok(()) };
    let suite: Suite = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    let Some(pair) = Pair::start_with("api templates", &["promql-per-step-stats"])? else { return Ok(()) };
    let range = |address: &str, query: &str| -> Result<(u16, Value)> {
        let (start, end) = (pair.end_s - RANGE_S, pair.end_s);
        let query = escape_value(query);
        let times = format!("start={start}&end={end}&step={STEP_S}");
        let path = format!("/api/v1/query_range?query={query}&{times}&stats=all");
        let answer = ask(address, "GET", &path, &[], "")?;
        Ok((answer.status, normal(answer.json())))
    };
    let (mut asked, mut points, mut empty, mut failures) = (0, 0, 0, Vec::new());
    let mut by_status: BTreeMap<u16, usize> = BTreeMap::new();
    for case in &suite.test_cases {
        for query in expand(&case.query) {
            let (status, wanted) = range(&pair.prometheus, &query)?;
            let (got_status, got) = range(&pair.cairn, &query)?;
            asked += 1;
            *by_status.entry(status).or_default() += 1;
            let result = &wanted["data"]["result"];
            empty += usize::from(result.as_array().is_some_and(Vec::is_empty));
            if status != got_status {
                failures.push(format!("{query}\n    status {status}, got {got_status}: {got}"));
            } else if status == 200 {
                let why = difference(&wanted, &got, "", &mut points);
                failures.extend(why.map(|why| format!("{query}\n    {why}")));
            }
        }
    }
    let templates = suite.test_cases.len();
    println!(
        "{templates} templates, {asked} queries ({empty} without series), {points} points: {by_status:?}"
    );
    assert!(failures.is_empty(), "{} of {asked} differ:\n{}", failures.len(), failures.join("\n"));
    points.checked_sub(100_000).context("fewer than 100,000 points were compared")?;
    Ok(())
}
