//! `cargo xtask sim …`: builds the simulation and hands it the arguments; what it prints is the command's output.

use anyhow::{Context, Result};

use crate::workspace;

/// Runs the command.
///
/// # Errors
/// When cargo cannot be run.
pub fn run(args: &[String]) -> Result<i32> {
    let status = workspace::cargo()
        .args(["run", "--quiet", "--package", "cairn-sim", "--bin", "cairn-sim", "--"])
        .args(args)
        .status()
        .context("cannot run cargo run --package cairn-sim")?;
    Ok(status.code().unwrap_or(1))
}
