//! What someone does who has only Rust: clone, `cargo run --release`, ask a question, `cargo xtask test`.
//!
//! Everything happens in a folder of its own with an empty cargo home, so that nothing this machine has built or
//! downloaded before can help. Prints how long it took until the first query had an answer.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::runner::Runner;
use super::tally::Counts;
use crate::{http, workspace};

/// A cold release build on two slow cores takes a good part of this.
const READY_TIMEOUT: Duration = Duration::from_secs(45 * 60);
/// Own metrics are written every few seconds.
const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);
/// Queries of which one must answer with a series: data that the program writes about itself.
const SELF_QUERIES: &[&str] = &["up", "%7B__name__%3D~%22cairn_.%2B%22%7D"];
/// The same command as a newcomer's, on ports that are free.
const ADDRESSES: &[&str] =
    &["CAIRN_HTTP_ADDRESS", "CAIRN_REMOTE_WRITE_ADDRESS", "CAIRN_GRPC_ADDRESS", "CAIRN_PEER_ADDRESS"];

/// Runs both commands in a fresh clone.
///
/// # Errors
/// When a step cannot be done or the program does not answer; the tests of the clone are counted.
pub fn run(runner: &mut Runner) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("cairn-newcomer-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let done = in_folder(&folder, runner);
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    done
}

fn in_folder(folder: &Path, runner: &mut Runner) -> Result<()> {
    let checkout = folder.join("cairn");
    let clone = Command::new("git")
        .args(["clone", "--quiet", "--no-hardlinks"])
        .arg(workspace::root())
        .arg(&checkout)
        .status()
        .context("cannot run git")?;
    ensure!(clone.success(), "cannot clone HEAD: git ended with {clone}");

    let start = Instant::now();
    let mut run = cargo(folder, &checkout);
    run.args(["run", "--release"]).envs(ADDRESSES.iter().map(|name| (*name, "127.0.0.1:0")));
    let mut product = Product(run.stdout(Stdio::piped()).spawn().context("cannot run cargo run --release")?);
    let address = product.wait_until_ready()?;
    let ready = start.elapsed();
    let series = first_answer(&address)?;
    println!(
        "newcomer: ready after {:.0} s, first query answered with {series} series after {:.0} s",
        ready.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    product.stop()?;
    runner.count(Counts { passed: 1, ..Counts::default() });

    runner.run(cargo(folder, &checkout).args(["xtask", "test"]))?;
    Ok(())
}

/// A cargo that knows nothing of this machine but its compiler, the peers' cache and the golden data.
fn cargo(folder: &Path, checkout: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO") || name == "RUSTFLAGS" || name == "RUSTC_WRAPPER" {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(checkout).env("CARGO_HOME", folder.join("cargo-home"));
    let golden = workspace::root().join("../shared/conformance");
    if std::env::var_os("CAIRN_CONFORMANCE").is_none() && golden.is_dir() {
        cargo.env("CAIRN_CONFORMANCE", golden);
    }
    cargo
}

/// The running program; it never outlives this value.
struct Product(Child);

impl Product {
    /// Waits for the ready line and returns the HTTP address in it.
    fn wait_until_ready(&mut self) -> Result<String> {
        let stdout = self.0.stdout.take().context("stdout is not piped")?;
        let (lines, received) = mpsc::channel();
        // Goes on reading after the ready line, so that the program never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = lines.send(line);
            }
        });
        let deadline = Instant::now() + READY_TIMEOUT;
        while let Ok(line) = received.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            println!("{line}");
            if let Some(addresses) = line.strip_prefix("cairn ready ") {
                let http = addresses.split(' ').find_map(|word| word.strip_prefix("http="));
                return http
                    .map(str::to_owned)
                    .with_context(|| format!("the ready line names no http: {line}"));
            }
        }
        match self.0.try_wait() {
            Ok(Some(status)) => {
                bail!("cannot use cargo run --release: it ended with {status} before it was ready")
            }
            _ => bail!("cannot use cargo run --release: not ready after {} s", READY_TIMEOUT.as_secs()),
        }
    }

    /// SIGTERM must end it with exit code 0.
    fn stop(mut self) -> Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        ensure!(told.is_ok_and(|s| s.success()), "cannot stop cairn: kill failed");
        let status = self.0.wait().context("cannot wait for cairn")?;
        ensure!(status.success(), "cairn ended with {status} after SIGTERM, expected exit code 0");
        Ok(())
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks until one of the queries has a series; how many it has.
fn first_answer(address: &str) -> Result<usize> {
    let deadline = Instant::now() + FIRST_ANSWER_TIMEOUT;
    loop {
        for query in SELF_QUERIES {
            let answer = http::get(address, &format!("/api/v1/query?query={query}"));
            let series = answer.ok().filter(|a| a.status == 200).and_then(|a| a.json().ok());
            let series = series.and_then(|json| json["data"]["result"].as_array().map(Vec::len)).unwrap_or(0);
            if series > 0 {
                return Ok(series);
            }
        }
        ensure!(
            Instant::now() < deadline,
            "cairn has no series about itself {} s after it was ready",
            FIRST_ANSWER_TIMEOUT.as_secs()
        );
        std::thread::sleep(POLL);
    }
}
