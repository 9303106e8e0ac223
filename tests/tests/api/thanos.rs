//! Thanos Query over cairn's StoreAPI reads what cairn reads.
//!
//! Only what does not depend on the version of the engine is asked: Thanos 0.42 extrapolates rates as an older
//! Prometheus, so its rates differ from those of Prometheus 3.14 over equal samples.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::ask::{ask, escape_value};
use crate::compare::{difference, normal};
use crate::pair::{Pair, peer};
use crate::process::{Process, free_port, wait_for};

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

#[test]
fn thanos_query_reads_from_cairn_what_cairn_reads() -> Result<()> {
    let Some(binary) = peer("api thanos", "thanos/thanos") else { return Ok(()) };
    let Some(pair) = Pair::start("api thanos")? else { return Ok(()) };
    let addresses: Value = serde_json::from_slice(&std::fs::read(pair.data_dir().join("addresses.json"))?)?;
    let grpc = addresses["grpc"].as_str().context("no gRPC address")?;
    let dir = tempfile::tempdir()?;
    let thanos = format!("127.0.0.1:{}", free_port()?);
    let _query = Process::quiet(
        "thanos",
        dir.path(),
        Command::new(binary)
            .args(["query", &format!("--http-address={thanos}"), &format!("--endpoint={grpc}")])
            .arg(format!("--grpc-address=127.0.0.1:{}", free_port()?)),
    )?;
    wait_for("Thanos to see cairn", PATIENCE, || {
        let stores = ask(&thanos, "GET", "/api/v1/stores", &[], "")?.json();
        ensure!(stores["data"]["receive"][0]["lastError"].is_null(), "{stores}");
        ensure!(stores["data"]["receive"][0]["labelSets"][0]["tenant_id"].is_string(), "{stores}");
        Ok(())
    })?;
    let mut points = 0;
    let same = |path: &str, points: &mut usize| -> Result<()> {
        let answers = [&thanos, &pair.cairn].map(|address| ask(address, "GET", path, &[], ""));
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
