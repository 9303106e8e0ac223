//! From the head to the bucket and back: windows become blocks, blocks are uploaded and compacted, promtool reads
//! them sample for sample, and a cairn that has nothing but the bucket answers as the one that made it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_model::number::format_g;
use cairn_proto::encode::{TimeSeries, WriteRequest, encode_v1, encode_v2, snappy_block};
use serde_json::Value;

use crate::answers::{Server, range, same};
use crate::process::{Cairn, wait_for};
use crate::{now, peer};

const TEST: &str = "e2e bucket";
const PATIENCE: Duration = Duration::from_secs(120);

/// Length of a window in this test; compaction joins four of them.
const WINDOW_MS: i64 = 60_000;
const SERIES: usize = 60;
const STEP_MS: i64 = 1_000;
/// Windows that are filled, aligned so that compaction can join them all twice over.
const WINDOWS: i64 = 8;

const QUERIES: &[&str] = &[
    "sum by (job) (rate(e2e_requests_total[30s]))",
    "e2e_temperature{instance=~\"i1.\"}",
    "count_over_time(e2e_temperature[1m])",
    "max by (job) (e2e_temperature) - min by (job) (e2e_temperature)",
];

#[test]
fn blocks_reach_the_bucket_are_compacted_and_answer_alone() -> Result<()> {
    let Some(promtool) = peer(TEST, "prometheus/promtool") else { return Ok(()) };
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let bucket = dir.join("bucket");
    let objstore = dir.join("objstore.yml");
    std::fs::write(&objstore, format!("type: FILESYSTEM\nconfig: {{directory: {}}}\n", bucket.display()))?;
    let args = [
        &format!("--objstore.config-file={}", objstore.display()),
        "--self-monitoring.disable",
        "--tsdb.block-duration=1m",
        "--tsdb.close-delay=1s",
        "--compact.interval=1s",
        "--compact.levels=1m,4m",
        "--compact.settle=1s",
        "--sync-block-duration=1s",
    ];
    let args: Vec<&str> = args.iter().map(|a| &**a).collect();
    let cairn = Cairn::start(dir, &dir.join("data"), &args)?;
    let start = (now() * 1000.0) as i64 - (WINDOWS + 6) * WINDOW_MS;
    let start = start - start.rem_euclid(4 * WINDOW_MS);
    let sent = send(&cairn.write, start)?;

    wait_for("a compacted block in the bucket", PATIENCE, || {
        let metas = block_metas(&bucket)?;
        let levels: Vec<_> = metas.iter().map(|m| m["compaction"]["level"].as_i64().unwrap_or(0)).collect();
        let spans: i64 = metas
            .iter()
            .filter(|m| m["compaction"]["level"] == 2)
            .map(|m| m["maxTime"].as_i64().unwrap_or(0) - m["minTime"].as_i64().unwrap_or(0))
            .sum();
        ensure!(spans >= WINDOWS * WINDOW_MS - STEP_MS * 4, "levels {levels:?}, {spans} ms compacted");
        Ok(())
    })?;
    every_sample_is_in_the_blocks(&promtool, &bucket, &sent)?;

    let headers = [("THANOS-TENANT", "acme")];
    let before = Server { address: &cairn.http, headers: &headers };
    let (from, to) = (start as f64 / 1000.0, (start + WINDOWS * WINDOW_MS) as f64 / 1000.0);
    let wanted: Vec<_> = QUERIES.iter().map(|q| range(&before, q, from, to, 7.0)).collect::<Result<_>>()?;
    ensure!(cairn.process.terminate(PATIENCE)? == 0, "cairn must end well after SIGTERM");

    let alone = Cairn::start(dir, &dir.join("fresh"), &args)?;
    let server = Server { address: &alone.http, headers: &headers };
    for (query, wanted) in QUERIES.iter().zip(&wanted) {
        let compared = wait_for("the bucket's answer", PATIENCE, || {
            same(query, wanted, &range(&server, query, from, to, 7.0)?)
        })?;
        println!("{query}: {compared} points equal from the bucket alone");
    }
    Ok(())
}

/// Sends all samples, half with each version of remote write, and gives them as promtool's dump prints them.
fn send(write: &str, start_ms: i64) -> Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    let mut series = Vec::new();
    for i in 0..SERIES {
        let (name, is_counter) =
            if i % 2 == 0 { ("e2e_requests_total", true) } else { ("e2e_temperature", false) };
        let (instance, job) = (format!("i{i}"), format!("job{}", i % 3));
        let labels = [("__name__", name), ("instance", &instance), ("job", &job)];
        let mut value = 0.0;
        let samples: Vec<(i64, f64)> = (0..WINDOWS * WINDOW_MS / STEP_MS)
            .map(|k| {
                let noise = ((k * 7919 + i as i64 * 104_729) % 1000) as f64 / 10.0;
                value = if is_counter && k % 333 != 332 { value + noise } else { noise };
                (start_ms + k * STEP_MS, value)
            })
            .collect();
        for (t, v) in &samples {
            let line = format!(
                "{{__name__=\"{name}\", instance=\"{instance}\", job=\"{job}\"}} {} {t}",
                format_g(*v)
            );
            ensure!(lines.insert(line), "every sample is sent once");
        }
        series.push(TimeSeries::floats(&labels, &samples));
    }
    let second = series.split_off(SERIES / 2);
    let v1 = encode_v1(&WriteRequest { series, ..WriteRequest::default() });
    let v2 = encode_v2(&WriteRequest { series: second, ..WriteRequest::default() });
    post(write, "application/x-protobuf", "0.1.0", &snappy_block(&v1))?;
    post(write, "application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0", &snappy_block(&v2))?;
    Ok(lines)
}

fn post(address: &str, content_type: &str, version: &str, body: &[u8]) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /api/v1/write HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nTHANOS-TENANT: acme\r\n\
         Content-Encoding: snappy\r\nContent-Type: {content_type}\r\nX-Prometheus-Remote-Write-Version: {version}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    Ok(())
}

/// `meta.json` of every block in the bucket.
fn block_metas(bucket: &Path) -> Result<Vec<Value>> {
    let mut metas = Vec::new();
    for entry in std::fs::read_dir(bucket).context("no bucket yet")? {
        let path: PathBuf = entry?.path().join("meta.json");
        if path.exists() {
            metas.push(serde_json::from_slice(&std::fs::read(&path)?)?);
        }
    }
    Ok(metas)
}

/// promtool's dump of the bucket, sources and compacted blocks together, is what was sent, line for line.
fn every_sample_is_in_the_blocks(promtool: &Path, bucket: &Path, sent: &BTreeSet<String>) -> Result<()> {
    // promtool opens a database, which has a log; the bucket's blocks are shown to it beside an empty one.
    let view = bucket.with_file_name("promtool-view");
    std::fs::create_dir_all(view.join("wal"))?;
    for meta in block_metas(bucket)? {
        let ulid = meta["ulid"].as_str().context("no ulid")?;
        std::fs::create_dir_all(view.join(ulid).join("chunks"))?;
        for file in meta["thanos"]["files"].as_array().context("no list of files")? {
            let name = file["rel_path"].as_str().context("no name")?;
            std::fs::hard_link(bucket.join(ulid).join(name), view.join(ulid).join(name))?;
        }
    }
    let output = Command::new(promtool).args(["tsdb", "dump"]).arg(&view).output()?;
    ensure!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let dumped: Vec<&str> = text.lines().collect();
    ensure!(dumped.len() == sent.len(), "{} lines dumped, {} samples sent", dumped.len(), sent.len());
    if let Some(line) = dumped.iter().find(|l| !sent.contains(**l)) {
        anyhow::bail!("nobody sent {line:?}; one that was sent: {:?}", sent.first());
    }
    println!("{} samples dumped by promtool, equal line for line", dumped.len());
    for meta in block_metas(bucket)? {
        let ulid = meta["ulid"].as_str().context("no ulid")?;
        let output = Command::new(promtool).args(["tsdb", "analyze"]).arg(&view).arg(ulid).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && text.contains("Total Series"), "{ulid}: {text}");
    }
    Ok(())
}
