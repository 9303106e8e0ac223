//! `max_source_resolution` over a bucket that Thanos downsampled: the HTTP API answers what Thanos Query answers.

use std::fs::File;

use anyhow::{Context, Result, ensure};
use cairn_tests::conformance::conformance;
use serde_json::Value;

use crate::ask::{ask, escape_value};
use crate::compare::{difference, normal};
use crate::process::{Cairn, wait_for};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn coarse_blocks_answer_as_in_thanos() -> Result<()> {
    let Some(golden) = conformance("thanos-bucket") else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let bucket = dir.path().join("bucket");
    let archive = File::open(golden.join("compacted-and-downsampled.tar.zst"))?;
    tar::Archive::new(zstd::Decoder::new(archive)?).unpack(&bucket)?;
    // The archive holds the bucket's folder.
    let blocks = |dir: &std::path::Path| -> Result<bool> {
        Ok(std::fs::read_dir(dir)?.flatten().any(|e| e.path().join("meta.json").exists()))
    };
    let root = match blocks(&bucket)? {
        true => bucket.clone(),
        false => std::fs::read_dir(&bucket)?.flatten().next().context("an empty archive")?.path(),
    };
    ensure!(blocks(&root)?, "no blocks in {}", root.display());
    let objstore = format!("{{type: FILESYSTEM, config: {{directory: {}}}}}", root.display());
    let args = ["--objstore.config", &objstore, "--compact.disable", "--self-monitoring.disable"];
    let cairn = Cairn::start(dir.path(), &dir.path().join("data"), &args)?;
    wait_for("the bucket to be read", PATIENCE, || {
        let labels = ask(&cairn.http, "GET", "/api/v1/labels", &[], "")?.json();
        ensure!(labels["data"].as_array().is_some_and(|l| !l.is_empty()), "{labels}");
        Ok(())
    })?;

    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(golden.join("golden-query-range.json"))?)?;
    let (mut compared, mut points, mut failures) = (0, 0, Vec::new());
    for case in &cases {
        let text = |key: &str| match &case[key] {
            Value::String(s) => s.clone(),
            other => other.to_string(),
        };
        let (query, resolution) = (text("query"), text("max_source_resolution"));
        let path = format!(
            "/api/v1/query_range?query={}&start={}&end={}&step={}&max_source_resolution={resolution}",
            escape_value(&query),
            text("start"),
            text("end"),
            text("step"),
        );
        let answer = ask(&cairn.http, "GET", &path, &[], "")?;
        let (wanted, got) = (normal(case["response"].clone()), normal(answer.json()));
        compared += 1;
        if let Some(why) = difference(&wanted["data"]["result"], &got["data"]["result"], "", &mut points) {
            failures.push(format!("{query} at {resolution}: {why}"));
        }
    }
    println!("{compared} queries, {points} points");
    ensure!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
    ensure!(compared >= 60 && points > 3_000, "{compared} queries and {points} points are too few");
    Ok(())
}
