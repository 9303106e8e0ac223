//! Starts the program under test and its peers alike: on 127.0.0.1, with a fresh data folder on a real file system.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::peers::locate;
use crate::{http, workspace};

mod thanos;
pub use thanos::REPLICA_LABEL;

/// Longest a server may take to become ready, replay included.
const READY_TIMEOUT: Duration = Duration::from_secs(300);
const READY_POLL: Duration = Duration::from_millis(5);

/// A program that benches run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// This workspace's release build.
    Cairn,
    /// Single-node VictoriaMetrics.
    VictoriaMetrics,
    /// Prometheus as a remote-write receiver.
    Prometheus,
    /// Thanos Receive, asked through Thanos Query.
    Thanos,
}

impl Program {
    /// Name in rows, and of the peer's pin.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cairn => super::row::CAIRN,
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Prometheus => "prometheus",
            Self::Thanos => "thanos",
        }
    }

    /// Version in rows.
    pub fn version(self) -> String {
        if self == Self::Cairn {
            return env!("CARGO_PKG_VERSION").to_owned();
        }
        let pins = locate::pinned().unwrap_or_default();
        pins.into_iter().find(|p| p.name == self.name()).map(|p| p.version).unwrap_or_default()
    }

    /// The path on which it takes remote write.
    fn write_path(self) -> &'static str {
        if matches!(self, Self::Cairn | Self::Thanos) { "/api/v1/receive" } else { "/api/v1/write" }
    }

    fn ready_path(self) -> &'static str {
        if self == Self::VictoriaMetrics { "/health" } else { "/-/ready" }
    }
}

/// A running server. It is killed when this value goes.
pub struct Server {
    /// Which program.
    pub program: Program,
    /// Where it takes remote write.
    pub write_url: String,
    /// `host:port` of its query API and metrics.
    pub http: String,
    /// How long it took from the start of the process until it was ready.
    pub ready_after: Duration,
    data: PathBuf,
    child: Child,
    /// What answers queries where that is a process of its own.
    querier: Option<Child>,
}

/// Builds the release binaries that benches need.
///
/// # Errors
/// When one does not compile.
pub fn build() -> Result<()> {
    let status = workspace::cargo()
        .args(["build", "--release", "--quiet", "-p", "cairn", "-p", "load-tests"])
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cannot build cairn and load-tests: cargo ended with {status}");
    Ok(())
}

impl Server {
    /// Starts `program` on the folder `data`, which may hold what an earlier start left, and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started or does not become ready.
    pub fn start(program: Program, data: &Path) -> Result<Self> {
        Self::start_with(program, data, &[])
    }

    /// The same with more flags of the program's own.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with(program: Program, data: &Path, flags: &[&str]) -> Result<Self> {
        fs::create_dir_all(data).with_context(|| format!("cannot create {}", data.display()))?;
        let log_path = data.with_extension("log");
        let log = File::create(&log_path).with_context(|| format!("cannot create {}", log_path.display()))?;
        let started = match program {
            Program::Cairn => start_cairn(data, log, flags),
            Program::Thanos => thanos::start(data, log, flags),
            peer => start_peer(peer, data, log, flags),
        };
        started.with_context(|| {
            format!(
                "cannot start {}{}; its log is {}",
                program.name(),
                last_line(&log_path),
                log_path.display()
            )
        })
    }

    /// Process id of what takes writes.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Process ids of all that takes part in an answer.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.child.id()).chain(self.querier.as_ref().map(Child::id))
    }

    /// Waits until queries see what was acknowledged.
    ///
    /// # Errors
    /// When they do not for long.
    pub fn wait_until_visible(&self) -> Result<()> {
        if self.program == Program::Thanos { thanos::wait_until_visible(&self.http) } else { Ok(()) }
    }

    /// SIGKILL, as a power cut would do it; the data stays.
    pub fn kill(mut self) -> PathBuf {
        self.end();
        self.data.clone()
    }

    /// The value of a metric without labels, from the server's own `/metrics`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        let answer = http::get(&self.http, "/metrics")?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
        Ok(text.lines().find_map(value))
    }
}

impl Server {
    fn end(&mut self) {
        for child in [Some(&mut self.child), self.querier.as_mut()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn start_cairn(data: &Path, log: File, flags: &[&str]) -> Result<Server> {
    let binary = workspace::target().join("release").join("cairn");
    let mut command = Command::new(&binary);
    command.arg("--data-dir").arg(data);
    for flag in ["--http-address", "--remote-write.address", "--grpc-address", "--peer-address"] {
        command.args([flag, "127.0.0.1:0"]);
    }
    let begun = Instant::now();
    let mut child = command
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let stdout = child.stdout.take().context("stdout is not piped")?;
    // Built at once, so that every early return kills the process.
    let mut server = Server {
        program: Program::Cairn,
        write_url: String::new(),
        http: String::new(),
        ready_after: Duration::ZERO,
        data: data.to_owned(),
        child,
        querier: None,
    };
    let line = first_line(stdout).context("it ended or kept silent before it said ready")?;
    let Some(addresses) = line.strip_prefix("cairn ready ") else {
        bail!("its first line is {line:?}, not `cairn ready …`");
    };
    server.ready_after = begun.elapsed();
    let address = |key: &str| {
        let found = addresses.split(' ').find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
        found.with_context(|| format!("its ready line names no {key}: {line}"))
    };
    server.http = address("http")?.to_owned();
    server.write_url = format!("http://{}{}", address("write")?, Program::Cairn.write_path());
    Ok(server)
}

/// Waits for the first line and goes on emptying the pipe.
fn first_line(stdout: impl std::io::Read + Send + 'static) -> Result<String> {
    let (lines, received) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = lines.send(line);
        }
    });
    Ok(received.recv_timeout(READY_TIMEOUT)?)
}

fn start_peer(program: Program, data: &Path, log: File, flags: &[&str]) -> Result<Server> {
    let binary = locate::find(program.name()).map_err(|e| anyhow!(e))?;
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(binary);
    let store = data.join("data");
    match program {
        Program::Prometheus => {
            let config = data.join("prometheus.yml");
            fs::write(&config, "global: {}\n")
                .with_context(|| format!("cannot write {}", config.display()))?;
            command.arg(format!("--config.file={}", config.display()));
            command.arg(format!("--storage.tsdb.path={}", store.display()));
            command.arg(format!("--web.listen-address={address}")).arg("--web.enable-remote-write-receiver");
        }
        _ => {
            command.arg(format!("-storageDataPath={}", store.display()));
            command.arg(format!("-httpListenAddr={address}"));
            command.args(["-retentionPeriod=10y", "-search.disableCache"]);
        }
    }
    let begun = Instant::now();
    let errors = log.try_clone().context("cannot share the log file")?;
    let child = command.args(flags).stdin(Stdio::null()).stdout(log).stderr(errors).spawn()?;
    let mut server = Server {
        program,
        write_url: format!("http://{address}{}", program.write_path()),
        http: address,
        ready_after: Duration::ZERO,
        data: data.to_owned(),
        child,
        querier: None,
    };
    let address = server.http.clone();
    wait_for(&mut server.child, begun, || {
        http::get(&address, program.ready_path()).is_ok_and(|a| a.status == 200)
    })?;
    server.ready_after = begun.elapsed();
    Ok(server)
}

/// Waits until `child`, which was started at `begun`, is `ready`.
fn wait_for(child: &mut Child, begun: Instant, ready: impl Fn() -> bool) -> Result<()> {
    while !ready() {
        if let Some(status) = child.try_wait()? {
            bail!("it ended with {status}");
        }
        ensure!(begun.elapsed() < READY_TIMEOUT, "not ready after {} s", READY_TIMEOUT.as_secs());
        std::thread::sleep(READY_POLL);
    }
    Ok(())
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.port())
}

fn last_line(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().rev().find(|l| !l.trim().is_empty()).map(|l| format!(" (it said: {l})")).unwrap_or_default()
}
