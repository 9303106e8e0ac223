//! Arrow results in the hands of those who read them: pyarrow and DuckDB. Run by `cargo xtask test arrow`, which
//! installs them; they are too large for every run, so plain `cargo test` leaves this one out.
#![allow(clippy::disallowed_methods)] // drives real processes, files and clocks; no part of the product

#[path = "../e2e/process.rs"]
#[allow(dead_code)] // the end-to-end tests use all of it
mod process;

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use crate::process::{Cairn, built};

/// Python with pyarrow and duckdb.
const PYTHON: &str = "CAIRN_ARROW_PYTHON";

#[test]
fn arrow_results_are_read_by_pyarrow_and_duckdb() -> Result<()> {
    let python = std::env::var_os(PYTHON).with_context(|| format!("{PYTHON} is not set"))?;
    let dir = tempfile::tempdir()?;
    let cairn = Cairn::start(dir.path(), &dir.path().join("data"), &["--self-monitoring.disable"])?;
    let end_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let sent = Command::new(built("load-tests")?)
        .args(["demo", "--url", &format!("http://{}/api/v1/write", cairn.write)])
        .args(["--end-ms", &(end_s * 1000).to_string(), "--step-ms", "15000"])
        .status()?;
    ensure!(sent.success(), "cannot load the demo data");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/arrow_readers/readers.py");
    let read = Command::new(python).arg(script).args([&cairn.http, &end_s.to_string()]).status()?;
    ensure!(read.success(), "the readers ended with {read}");
    Ok(())
}
