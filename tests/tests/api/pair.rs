//! A Prometheus and a cairn on free ports that hold the same samples.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use cairn_proto::encode::{WriteRequest, encode_v1, snappy_block};
use tempfile::TempDir;

use crate::ask::ask;
use crate::locate;
use crate::process::{Cairn, Process, built, free_port, wait_for};

const PATIENCE: Duration = Duration::from_secs(60);
/// Milliseconds between two scrapes of the demo service.
const SCRAPE_MS: u64 = 5_000;

/// Both servers.
pub struct Pair {
    pub prometheus: String,
    pub cairn: String,
    cairn_write: String,
    /// Seconds of the last scrape.
    pub end_s: u64,
    _processes: (Process, Cairn),
    dir: TempDir,
}

impl Pair {
    /// Starts both and sends three hours of the demo service to both; `None` where Prometheus is missing, after a
    /// counted line.
    pub fn start(test: &str) -> Result<Option<Self>> {
        Self::start_with(test, &[])
    }

    /// The same with experimental features on, which both call alike.
    pub fn start_with(test: &str, features: &[&str]) -> Result<Option<Self>> {
        let features = features.iter().map(|f| format!("--enable-feature={f}")).collect::<Vec<_>>();
        let Some(binary) = peer(test, "prometheus/prometheus") else { return Ok(None) };
        let dir = tempfile::tempdir()?;
        let config = dir.path().join("prometheus.yml");
        // Three hours back is more than Prometheus takes in order.
        std::fs::write(&config, "storage: {tsdb: {out_of_order_time_window: 12h}}\n")?;
        let prometheus = format!("127.0.0.1:{}", free_port()?);
        let oracle = Process::quiet(
            "prometheus",
            dir.path(),
            Command::new(binary)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", dir.path().join("prometheus").display()))
                .arg(format!("--web.listen-address={prometheus}"))
                .arg("--web.enable-remote-write-receiver")
                .args(&features),
        )?;
        let flags: Vec<&str> =
            features.iter().map(String::as_str).chain(["--self-monitoring.disable"]).collect();
        let cairn = Cairn::start(dir.path(), &dir.path().join("cairn"), &flags)?;
        wait_for("Prometheus to be ready", PATIENCE, || {
            let answer = ask(&prometheus, "GET", "/-/ready", &[], "")?;
            ensure!(answer.status == 200, "status {}", answer.status);
            Ok(())
        })?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let end_s = now_s - now_s % (SCRAPE_MS / 1000);
        let sent = Command::new(built("load-tests")?)
            .args(["demo", "--url", &format!("http://{prometheus}/api/v1/write")])
            .args(["--url", &format!("http://{}/api/v1/write", cairn.write)])
            .args(["--end-ms", &(end_s * 1000).to_string(), "--step-ms", &SCRAPE_MS.to_string()])
            .output()?;
        ensure!(
            sent.status.success(),
            "cannot load the demo data: {}",
            String::from_utf8_lossy(&sent.stdout)
        );
        let (http, write) = (cairn.http.clone(), cairn.write.clone());
        let processes = (oracle, cairn);
        Ok(Some(Pair { prometheus, cairn: http, cairn_write: write, end_s, _processes: processes, dir }))
    }

    /// Sends a remote-write request to both.
    pub fn write(&self, request: &WriteRequest) -> Result<()> {
        let body = snappy_block(&encode_v1(request));
        let headers = ["Content-Type: application/x-protobuf", "Content-Encoding: snappy"].map(str::to_owned);
        for address in [&self.prometheus, &self.cairn_write] {
            let answer = ask(address, "POST", "/api/v1/write", &headers, &body)?;
            ensure!(answer.status / 100 == 2, "{address}: {}", String::from_utf8_lossy(&answer.body));
        }
        Ok(())
    }

    /// cairn's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("cairn")
    }
}

/// The binary of a pinned peer, or a counted skip.
pub fn peer(test: &str, binary: &str) -> Option<PathBuf> {
    match locate::find(binary) {
        Ok(path) => Some(path),
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "{e}");
            println!("cairn-skip: {test}: {e}");
            None
        }
    }
}
