//! Thanos Query over cairn's gRPC APIs reads what cairn reads: series and names, rules, metadata, targets.
//!
//! Only what does not depend on the version of the engine is asked: Thanos 0.42 extrapolates rates as an older
//! Prometheus, so its rates differ from those of Prometheus 3.14 over equal samples.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ask::{ask, escape_value};
use crate::compare::{difference, normal};
use crate::pair::{Pair, peer};
use crate::process::{Cairn, Process, free_port, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

const QUERIES: &[&str] = &[
    "demo_memory_usage_bytes",
    "demo_api_request_duration_seconds_bucket",
    "demo_intermittent_metric",
    "sum by (type) (demo_memory_usage_bytes)",
    "max_over_time(demo_num_cpus[10m])",
    "changes(demo_batch_last_success_timestamp_seconds[5m])",
    "topk(2, demo_memory_usage_bytes)",
    "quantile by (type) (0.5, demo_memory_usage_bytes)",
    "count({job=\"demo\"})",
    "absent(nothing)",
    "demo_num_cpus offset 5m",
];

const NAMES: &[&str] = &[
    "/api/v1/labels",
    "/api/v1/label/instance/values",
    "/api/v1/label/__name__/values?match[]={job=\"demo\"}",
    "/api/v1/series?match[]=demo_num_cpus",
];

/// A Thanos Query that reads from one cairn.
struct Thanos {
    http: String,
    _process: Process,
    _dir: TempDir,
}

impl Thanos {
    fn over(binary: PathBuf, cairn_data: &Path) -> Result<Self> {
        let addresses: Value = serde_json::from_slice(&std::fs::read(cairn_data.join("addresses.json"))?)?;
        let grpc = addresses["grpc"].as_str().context("no gRPC address")?;
        let dir = tempfile::tempdir()?;
        let http = format!("127.0.0.1:{}", free_port()?);
        let process = Process::quiet(
            "thanos",
            dir.path(),
            Command::new(binary)
                .args(["query", &format!("--http-address={http}"), &format!("--endpoint={grpc}")])
                .arg(format!("--grpc-address=127.0.0.1:{}", free_port()?)),
        )?;
        wait_for("Thanos to see cairn", PATIENCE, || {
            let stores = ask(&http, "GET", "/api/v1/stores", &[], "")?.json();
            ensure!(stores["data"]["receive"][0]["lastError"].is_null(), "{stores}");
            ensure!(stores["data"]["receive"][0]["labelSets"][0]["tenant_id"].is_string(), "{stores}");
            Ok(())
        })?;
        Ok(Thanos { http, _process: process, _dir: dir })
    }
}

#[test]
fn thanos_query_reads_from_cairn_what_cairn_reads() -> Result<()> {
    let Some(binary) = peer("api thanos", "thanos/thanos") else { return Ok(()) };
    let Some(pair) = Pair::start("api thanos")? else { return Ok(()) };
    let thanos = Thanos::over(binary, &pair.data_dir())?;
    let mut points = 0;
    let same = |path: &str, points: &mut usize| -> Result<()> {
        let answers = [&thanos.http, &pair.cairn].map(|address| ask(address, "GET", path, &[], ""));
        let [wanted, got] = answers.map(|a| a.map(|a| (a.status, normal(a.json())["data"].take())));
        let (wanted, got) = (wanted?, got?);
        ensure!(wanted.0 == 200 && got.0 == 200, "{path}: {wanted:?}, {got:?}");
        let why = difference(&wanted.1, &got.1, "", points);
        ensure!(why.is_none(), "{path}: {}", why.unwrap_or_default());
        Ok(())
    };
    let (start, end) = (pair.end_s - 3600, pair.end_s);
    for query in QUERIES {
        let query = escape_value(query);
        same(&format!("/api/v1/query_range?query={query}&start={start}&end={end}&step=15"), &mut points)?;
        same(&format!("/api/v1/query?query={query}&time={end}"), &mut points)?;
    }
    for path in NAMES {
        same(&crate::ask::escape(path), &mut points)?;
    }
    println!("{} queries, {} lists of names, {points} points", 2 * QUERIES.len(), NAMES.len());
    assert!(points > 100_000, "{points} points are too few");
    Ok(())
}

const RULES: &str = "groups:
- name: watch
  interval: 1s
  limit: 3
  rules:
  - {record: one, expr: vector(1), labels: {team: a}}
  - {alert: Always, expr: vector(1) > 0, for: 1h, labels: {severity: page}, annotations: {summary: it is so}}
  - {record: broken, expr: 'vector(1) * on() group_left() up'}
";

/// Thanos shows what cairn's own API shows of its rules, with the external labels that Thanos tells rulers apart by.
#[test]
fn thanos_query_shows_cairns_rules_and_finds_no_targets() -> Result<()> {
    let Some(binary) = peer("api thanos rules", "thanos/thanos") else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let (rules, data) = (dir.path().join("rules.yml"), dir.path().join("cairn"));
    std::fs::write(&rules, RULES)?;
    let cairn = Cairn::start(dir.path(), &data, &["--rule-file", &rules.display().to_string()])?;
    wait_for("the rules to be evaluated", PATIENCE, || {
        let groups = ask(&cairn.http, "GET", "/api/v1/rules", &[], "")?.json();
        ensure!(groups["data"]["groups"][0]["rules"][1]["state"] == "pending", "{groups}");
        Ok(())
    })?;
    let thanos = Thanos::over(binary, &data)?;
    let shown = |address: &str| -> Result<Value> {
        Ok(ask(address, "GET", "/api/v1/rules", &[], "")?.json()["data"]["groups"][0].clone())
    };
    let (mut wanted, mut got) = (shown(&cairn.http)?, shown(&thanos.http)?);
    for group in [&mut wanted, &mut got] {
        let rules = group["rules"].as_array_mut().context("no rules")?;
        // Thanos sorts rules by name, and an evaluation may lie between the two answers.
        rules.sort_by_key(|r| r["name"].to_string());
        rules.iter_mut().for_each(|rule| {
            for moving in ["evaluationTime", "lastEvaluation"] {
                assert!(!rule[moving].is_null(), "{moving} is missing in {rule}");
                rule[moving] = Value::Null;
            }
            // What Prometheus leaves out when there is none, Thanos gives as empty.
            let empty = rule["lastError"].as_str().is_some_and(str::is_empty);
            rule.as_object_mut().expect("an object").retain(|k, _| k != "lastError" || !empty);
        });
        group["evaluationTime"] = Value::Null;
        group["lastEvaluation"] = Value::Null;
    }
    for rule in got["rules"].as_array_mut().context("no rules")? {
        assert_eq!(rule["labels"]["tenant_id"], "default-tenant", "{rule}");
        rule["labels"].as_object_mut().context("no labels")?.remove("tenant_id");
    }
    let mut points = 0;
    assert_eq!(difference(&wanted["rules"], &got["rules"], "rules", &mut points), None);
    for field in ["name", "file", "interval", "limit", "partialResponseStrategy"] {
        assert_eq!(difference(&wanted[field], &got[field], field, &mut points), None);
    }
    let targets = ask(&thanos.http, "GET", "/api/v1/targets", &[], "")?.json();
    assert_eq!(targets["data"], json!({"activeTargets": [], "droppedTargets": []}), "{targets}");
    assert!(targets["warnings"].is_null(), "{targets}");
    let metadata = ask(&thanos.http, "GET", "/api/v1/metadata", &[], "")?.json();
    assert_eq!(metadata["data"], ask(&cairn.http, "GET", "/api/v1/metadata", &[], "")?.json()["data"]);
    assert!(metadata["warnings"].is_null(), "{metadata}");
    Ok(())
}
