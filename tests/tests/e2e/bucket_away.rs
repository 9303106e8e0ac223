//! A bucket that does not answer at the start: cairn starts without it, takes and answers what it can, and says what
//! is missing.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http::{encode, get};
use crate::process::{Cairn, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);

/// Nobody listens on port 1.
const AWAY: &str = "type: S3\nconfig: {bucket: b, endpoint: '127.0.0.1:1', region: r, insecure: true, access_key: k, \
                    secret_key: s, max_retries: 0}\n";

#[test]
fn a_start_does_not_need_the_bucket() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let objstore = dir.join("objstore.yml");
    std::fs::write(&objstore, AWAY)?;
    let rules = dir.join("rules.yml");
    std::fs::write(
        &rules,
        "groups:\n- name: g\n  interval: 1s\n  rules:\n  - {record: own_metrics, expr: 'count({__name__=~\"cairn_.+\"})'}\n",
    )?;
    let args = [
        format!("--objstore.config-file={}", objstore.display()),
        format!("--rule-file={}", rules.display()),
        "--self-monitoring.interval=1s".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let cairn = Cairn::start(dir, &dir.join("data"), &args)?;
    let query = format!("/api/v1/query?query={}", encode("own_metrics > 0"));
    // A rule's result: writes, reads and rules go on, although rules refuse partial answers.
    wait_for("a rule's result", PATIENCE, || {
        let (status, body) = get(&cairn.http, &query, &[])?;
        ensure!(status == 200 && body.contains("\"value\""), "{status}: {body}");
        ensure!(body.contains("answer may be partial: bucket"), "the answer says what is missing: {body}");
        Ok(())
    })?;
    let (_, metrics) = get(&cairn.http, "/metrics", &[])?;
    ensure!(metrics.contains("\ncairn_bucket_usable 0\n"), "the metric says that the bucket is away");
    let failures = metrics.lines().find_map(|l| l.strip_prefix("cairn_bucket_probe_failures_total "));
    ensure!(failures.is_some_and(|n| n != "0"), "probes are counted: {failures:?}");
    ensure!(cairn.process.log_tail().contains("127.0.0.1:1"), "the log names the store");
    ensure!(cairn.process.terminate(PATIENCE)? == 0);
    Ok(())
}
