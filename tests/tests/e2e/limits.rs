//! Limits of tenants in a running cairn: a file that changes, is broken, and is mended, in each of the ways in which it
//! is read again.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::http::{api, encode, get};
use crate::process::{Cairn, wait_for};

/// Far above the five seconds between two looks at the file.
const PATIENCE: Duration = Duration::from_secs(60);

const TENANT: (&str, &str) = ("THANOS-TENANT", "default-tenant");

/// POST without a body; gives status and text.
fn reload(address: &str) -> Result<(u16, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    write!(stream, "POST /-/reload HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    Ok((status, answer))
}

#[test]
fn a_limits_file_is_followed_and_a_broken_one_changes_nothing() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let dir = temp.path();
    let file = dir.join("limits.yml");
    let write = |max_series: &str| {
        std::fs::write(
            &file,
            format!("query: {{tenants: {{default-tenant: {{max_series: {max_series}}}}}}}\n"),
        )
    };
    write("0")?;
    let flag = format!("--receive.limits-config-file={}", file.display());
    let cairn = Cairn::start(dir, &dir.join("data"), &[&flag, "--self-monitoring.interval=1s"])?;
    let in_force = || -> Result<serde_json::Value> {
        Ok(api(&cairn.http, "/api/v1/status/limits", &[TENANT])?["query"]["tenants"]["default-tenant"]["max_series"].clone())
    };
    let becomes = |want: u64| {
        wait_for("the limit", PATIENCE, || {
            let have = in_force()?;
            ensure!(have == json!(want), "max_series is {have}, not {want}");
            Ok(())
        })
    };
    // Cairn's own metrics are the data.
    let query = format!("/api/v1/query?query={}", encode("count({__name__=~\"cairn_.+\"})"));
    let counted = || get(&cairn.http, &query, &[TENANT]);
    wait_for("cairn's own metrics", PATIENCE, || {
        let (status, body) = counted()?;
        ensure!(status == 200 && body.contains("\"value\""), "{status}: {body}");
        Ok(())
    })?;

    write("3")?;
    ensure!(reload(&cairn.http)?.0 == 200, "a sound file is reloaded");
    becomes(3)?;
    let (status, body) = counted()?;
    ensure!(status == 422 && body.contains("the limit is 3"), "{status}: {body}");
    // So are series that nobody evaluates, unless the request asks for few.
    let series = format!("/api/v1/series?match[]={}", encode("{__name__=~\"cairn_.+\"}"));
    let (status, body) = get(&cairn.http, &series, &[TENANT])?;
    ensure!(status == 422 && body.contains("the limit is 3"), "{status}: {body}");
    let (status, body) = get(&cairn.http, &format!("{series}&limit=2"), &[TENANT])?;
    ensure!(status == 200 && body.contains("truncated"), "{status}: {body}");

    write("many")?;
    let (status, text) = reload(&cairn.http)?;
    ensure!(status == 500 && text.contains("query.tenants.default-tenant.max_series"), "{text}");
    becomes(3)?;
    let (_, metrics) = get(&cairn.http, "/metrics", &[])?;
    ensure!(metrics.contains("\ncairn_limits_last_reload_successful 0\n"), "the metric says that it failed");

    write("4")?;
    let hangup = Command::new("kill").args(["-HUP", &cairn.process.pid().to_string()]).status()?;
    ensure!(hangup.success(), "cannot signal cairn");
    becomes(4)?;

    // Nobody tells of this change: the file is looked at.
    write("100000")?;
    becomes(100_000)?;
    ensure!(counted()?.0 == 200);
    ensure!(cairn.process.terminate(PATIENCE)? == 0);
    Ok(())
}
