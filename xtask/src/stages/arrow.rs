//! Arrow results read by pyarrow and DuckDB, which are installed into a virtual environment below `target/`.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::runner::Runner;
use crate::workspace;

/// What is installed. Pinned, so that a release of theirs does not break a run of ours.
const PACKAGES: [&str; 2] = ["pyarrow==26.0.1", "duckdb==2.0.1"];

/// Installs the readers where they are missing, then runs the test that needs them.
///
/// # Errors
/// When there is no Python 3 with `venv`, or the packages cannot be had.
pub fn run(runner: &mut Runner) -> Result<()> {
    let folder = workspace::target().join("arrow-venv");
    let python = folder.join("bin/python");
    if !python.exists() {
        let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).status();
        ensure!(made.context("cannot run python3")?.success(), "cannot make {}", folder.display());
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let installed = Command::new(&python).args(pip).args(PACKAGES).status().context("cannot run pip")?;
    ensure!(installed.success(), "cannot install {}", PACKAGES.join(" and "));
    runner.run(workspace::cargo().args(["build", "--workspace", "--all-targets"]))?;
    let mut test = workspace::cargo();
    test.args(["test", "--workspace", "--test", "arrow_readers", "--", "--nocapture"]);
    runner.run(test.env("CAIRN_ARROW_PYTHON", python))?;
    Ok(())
}
