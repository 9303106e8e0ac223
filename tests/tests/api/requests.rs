//! The table of requests: status, error type, error text, data and cross-origin headers as Prometheus gives them.

use anyhow::Result;

use crate::ask::{Asked, ask, escape};
use crate::compare::{difference, normal};
use crate::native;
use crate::pair::Pair;
use crate::schema::OpenApi;

/// A line of the table.
struct Line {
    method: String,
    path: String,
    headers: Vec<String>,
    form: String,
    shape_only: bool,
}

impl Line {
    fn read(text: &str, end_s: u64) -> Line {
        let filled = text
            .replace("{end}", &end_s.to_string())
            .replace("{start}", &(end_s - 3600).to_string())
            .replace("{old}", &(end_s - 2 * 86_400).to_string());
        let mut parts = filled.split(" | ");
        let (method, path) = parts.next().and_then(|p| p.split_once(' ')).expect("METHOD PATH");
        let mut line = Line {
            method: method.to_owned(),
            path: escape(path),
            headers: Vec::new(),
            form: String::new(),
            shape_only: false,
        };
        for part in parts {
            match part.strip_prefix("form ") {
                Some(form) => {
                    line.form = escape(form);
                    line.headers.push("Content-Type: application/x-www-form-urlencoded".to_owned());
                }
                None if part == "shape" => line.shape_only = true,
                None => line.headers.push(part.to_owned()),
            }
        }
        line
    }

    fn ask(&self, address: &str) -> Result<Asked> {
        ask(address, &self.method, &self.path, &self.headers, &self.form)
    }
}

/// Why cairn's answer is not Prometheus'.
fn mismatch(line: &Line, wanted: &Asked, got: &Asked, points: &mut usize) -> Option<String> {
    if wanted.status != got.status {
        let text = String::from_utf8_lossy(&got.body);
        return Some(format!("status {}, got {}: {text}", wanted.status, got.status));
    }
    let cors = (wanted.headers_of("access-control-"), got.headers_of("access-control-"));
    if cors.0 != cors.1 {
        return Some(format!("headers {:?}, got {:?}", cors.0, cors.1));
    }
    let (wanted, got) = (wanted.json(), got.json());
    if line.shape_only {
        let types = (&wanted["errorType"], &got["errorType"]);
        return (types.0 != types.1).then(|| format!("error type {}, got {}", types.0, types.1));
    }
    difference(&normal(wanted), &normal(got), "", points)
}

/// What was compared.
struct Compared {
    asked: usize,
    validated: usize,
    points: usize,
}

/// Asks a table's requests of both servers, which have the same experimental `features`; `None` where something that
/// is needed is missing.
fn compare(test: &str, table: &str, features: &[&str]) -> Result<Option<Compared>> {
    let Some(openapi) = OpenApi::load()? else { return Ok(None) };
    let Some(pair) = Pair::start_with(test, features)? else { return Ok(None) };
    native::send(&pair)?;
    let (mut asked, mut validated, mut points, mut failures) = (0, 0, 0, Vec::new());
    for text in table.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let line = Line::read(text, pair.end_s);
        let (wanted, got) = (line.ask(&pair.prometheus)?, line.ask(&pair.cairn)?);
        asked += 1;
        if let Some(why) = mismatch(&line, &wanted, &got, &mut points) {
            failures.push(format!("{text}\n    {why}"));
        }
        let Some(schema) = openapi.schema(&line.method, &line.path, got.status) else { continue };
        // Where Prometheus breaks its own document there is nothing to hold to.
        if wanted.status == got.status && openapi.violation(schema, &wanted.json(), "").is_none() {
            validated += 1;
            if let Some(why) = openapi.violation(schema, &got.json(), "") {
                failures.push(format!("{text}\n    breaks the OpenAPI document: {why}"));
            }
        }
    }
    println!("{asked} requests, {points} points compared, {validated} answers validated");
    assert!(failures.is_empty(), "{} of {asked} differ:\n{}", failures.len(), failures.join("\n"));
    Ok(Some(Compared { asked, validated, points }))
}

#[test]
fn requests_are_answered_as_prometheus_answers_them() -> Result<()> {
    if let Some(c) = compare("api requests", include_str!("requests.txt"), &[])? {
        assert!(c.asked > 150 && c.validated > 100 && c.points > 100, "too little was compared");
    }
    Ok(())
}

/// The contract that Grafana's data source lives by.
#[test]
fn grafana_is_answered_as_prometheus_answers_it() -> Result<()> {
    if let Some(c) = compare("api grafana", include_str!("grafana.txt"), &[])? {
        assert!(c.asked > 40 && c.validated > 20 && c.points > 10_000, "too little was compared");
    }
    Ok(())
}

#[test]
fn experimental_parts_are_those_of_prometheus_where_both_have_them_on() -> Result<()> {
    let features = [
        "promql-experimental-functions",
        "promql-extended-range-selectors",
        "promql-binop-fill-modifiers",
        "promql-per-step-stats",
    ];
    if let Some(c) = compare("api experimental", include_str!("experimental.txt"), &features)? {
        assert!(c.asked > 35 && c.validated > 25 && c.points > 100, "too little was compared");
    }
    Ok(())
}
