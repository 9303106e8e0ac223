//! The stages of `cargo xtask test`, in the order they run. Adding one is one entry here.

use anyhow::Result;

use super::newcomer;
use super::runner::Runner;

/// A named part of the tests.
pub struct Stage {
    /// Name on the command line.
    pub name: &'static str,
    /// Peers that are fetched before the stage runs; its tests skip by themselves what needs a missing one.
    pub peers: &'static [&'static str],
    /// Whether it runs only with `--full` or by name.
    pub full: bool,
    /// What it does.
    pub steps: &'static [Step],
}

/// One thing a stage does.
pub enum Step {
    /// Arguments of cargo.
    Cargo(&'static [&'static str]),
    /// Anything that one cargo command cannot say.
    Own(fn(&mut Runner) -> Result<()>),
}

use Step::{Cargo, Own};

/// All stages. One build profile (dev) for all, so that nothing is built twice.
pub const STAGES: &[Stage] = &[
    Stage { name: "fmt", peers: &[], full: false, steps: &[Cargo(&["fmt", "--all", "--check"])] },
    Stage {
        name: "lint",
        peers: &[],
        full: false,
        steps: &[Cargo(&["clippy", "--workspace", "--all-targets"])],
    },
    Stage {
        name: "unit",
        peers: &[],
        full: false,
        steps: &[Cargo(&["test", "--workspace", "--exclude", "cairn-tests", "--no-fail-fast"])],
    },
    Stage { name: "newcomer", peers: &[], full: true, steps: &[Own(newcomer::run)] },
];
