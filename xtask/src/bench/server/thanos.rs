//! Thanos as it is run for queries of fresh data: Receive takes writes and keeps them, Query answers over its StoreAPI.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use super::{Program, Server, free_port, wait_for};
use crate::http;
use crate::peers::locate;

/// External label of Receive, which demands one; comparisons leave it out.
pub const REPLICA_LABEL: &str = "receive_replica";

/// Receive tells Query every few seconds what it has.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(60);
const VISIBLE_POLL: Duration = Duration::from_millis(200);

/// Starts both on the folder `data`; they share a log.
pub fn start(data: &Path, log: File, flags: &[&str]) -> Result<Server> {
    let binary = locate::find(Program::Thanos.name()).map_err(|e| anyhow!(e))?;
    let address = || free_port().map(|port| format!("127.0.0.1:{port}"));
    let (receive_http, store, write) = (address()?, address()?, address()?);
    let (query_http, query_grpc) = (address()?, address()?);
    let begun = Instant::now();
    let run = |command: &mut Command| {
        let (out, errors) = (log.try_clone()?, log.try_clone()?);
        command.stdin(Stdio::null()).stdout(out).stderr(errors).spawn()
    };
    let receive = run(Command::new(&binary)
        .arg("receive")
        .arg(format!("--tsdb.path={}", data.join("data").display()))
        .arg(format!("--http-address={receive_http}"))
        .arg(format!("--grpc-address={store}"))
        .arg(format!("--remote-write.address={write}"))
        .arg(format!("--label={REPLICA_LABEL}=\"0\""))
        .args(flags))?;
    // Built at once, so that every early return kills the process.
    let mut server = Server {
        program: Program::Thanos,
        write_url: format!("http://{write}{}", Program::Thanos.write_path()),
        http: query_http.clone(),
        ready_after: Duration::ZERO,
        data: data.to_owned(),
        child: receive,
        querier: None,
    };
    let ready = |address: &str| http::get(address, "/-/ready").is_ok_and(|a| a.status == 200);
    wait_for(&mut server.child, begun, || ready(&receive_http)).context("receive")?;
    let query = run(Command::new(&binary)
        .arg("query")
        .arg(format!("--http-address={query_http}"))
        .arg(format!("--grpc-address={query_grpc}"))
        .arg(format!("--endpoint={store}")))?;
    let query = server.querier.insert(query);
    wait_for(query, begun, || ready(&query_http) && first_time_ms(&query_http).is_some()).context("query")?;
    server.ready_after = begun.elapsed();
    Ok(server)
}

/// Waits until Query knows that Receive has samples: before, it does not ask for them.
pub fn wait_until_visible(query: &str) -> Result<()> {
    let begun = Instant::now();
    while first_time_ms(query).is_none_or(|t_ms| t_ms == i64::MAX) {
        ensure!(begun.elapsed() < VISIBLE_TIMEOUT, "Thanos Query sees no samples after {VISIBLE_TIMEOUT:?}");
        std::thread::sleep(VISIBLE_POLL);
    }
    Ok(())
}

/// The time from which on Receive has samples, as Query knows it; `None` while it knows no Receive.
fn first_time_ms(query: &str) -> Option<i64> {
    let stores = http::get(query, "/api/v1/stores").ok()?.json().ok()?;
    stores.pointer("/data/receive/0/minTime").and_then(Value::as_i64)
}
