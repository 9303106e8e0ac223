//! The parser beside `promql-parser` (`tests/promql-oracle`, a workspace of its own), whose build nothing else waits for.

use anyhow::Result;

use super::runner::Runner;
use crate::workspace;

/// Checks and runs the comparison; what is built stays below `target/`, so that the next run begins at once.
///
/// # Errors
/// When cargo cannot be run.
pub fn run(runner: &mut Runner) -> Result<()> {
    let built = workspace::target().join("promql-oracle");
    let cargo = |command: &str| {
        let mut cargo = workspace::cargo();
        cargo.args([command, "--manifest-path", "tests/promql-oracle/Cargo.toml"]);
        cargo
    };
    runner.run(cargo("fmt").arg("--check"))?;
    runner.run(cargo("clippy").args(["--locked", "--all-targets", "--target-dir"]).arg(&built))?;
    // One after the other: each prints its counts.
    let counts = ["--", "--nocapture", "--test-threads=1"];
    runner.run(cargo("test").args(["--locked", "--target-dir"]).arg(&built).args(counts))?;
    Ok(())
}
