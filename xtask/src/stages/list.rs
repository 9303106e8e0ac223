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
    /// When it runs.
    pub when: When,
    /// What it does.
    pub steps: &'static [Step],
}

/// When a stage runs. By its name it always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In every run.
    Always,
    /// With `--full`.
    Full,
    /// Only by its name: a part of another stage.
    ByName,
}

/// One thing a stage does.
pub enum Step {
    /// Arguments of cargo.
    Cargo(&'static [&'static str]),
    /// Arguments of cargo; tests that repeat themselves do so as often as is promised (`CAIRN_THOROUGH`).
    Thorough(&'static [&'static str]),
    /// Anything that one cargo command cannot say.
    Own(fn(&mut Runner) -> Result<()>),
}

use Step::{Cargo, Own, Thorough};
use When::{Always, ByName, Full};

/// All stages. One build profile (dev) and always the whole workspace, never `-p`: another choice of packages would be
/// another choice of features, and everything would be built twice.
pub const STAGES: &[Stage] = &[
    Stage { name: "fmt", peers: &[], when: Always, steps: &[Cargo(&["fmt", "--all", "--check"])] },
    Stage {
        name: "lint",
        peers: &[],
        when: Always,
        steps: &[Cargo(&["clippy", "--workspace", "--all-targets"])],
    },
    // Binaries too: end-to-end tests start them, and `--all-targets` gives every later step the same features.
    Stage {
        name: "build",
        peers: &[],
        when: Always,
        steps: &[Cargo(&["build", "--workspace", "--all-targets"])],
    },
    // Everything that cargo runs, golden data and real programs included.
    Stage {
        name: "unit",
        peers: &["prometheus", "prometheus-2.42", "alertmanager", "node_exporter", "thanos"],
        when: Always,
        steps: &[Cargo(&["test", "--workspace", "--no-fail-fast"])],
    },
    // Parts of the above by name, for work on one of them.
    Stage {
        name: "e2e",
        peers: &["prometheus", "prometheus-2.42", "alertmanager", "node_exporter"],
        when: ByName,
        steps: &[
            Cargo(&["build", "--workspace", "--all-targets"]),
            Cargo(&["test", "--workspace", "--test", "e2e", "--", "--nocapture"]),
        ],
    },
    // The HTTP and gRPC APIs: in process, and beside a Prometheus.
    Stage {
        name: "api",
        peers: &["prometheus", "thanos"],
        when: ByName,
        steps: &[
            Cargo(&["build", "--workspace", "--all-targets"]),
            Cargo(&["test", "--workspace", "--test", "api", "--test", "http", "--test", "grpc"]),
        ],
    },
    Stage {
        name: "golden",
        peers: &["prometheus"],
        when: ByName,
        steps: &[Cargo(&[
            "test",
            "--workspace",
            "--test",
            "golden",
            "--test",
            "golden_block",
            "--test",
            "block_promtool",
            "--",
            "--nocapture",
        ])],
    },
    Stage {
        name: "promqltest",
        peers: &[],
        when: ByName,
        steps: &[Cargo(&["test", "--workspace", "--test", "promqltest", "--test", "testlang_runner"])],
    },
    Stage {
        name: "wal",
        peers: &[],
        when: ByName,
        steps: &[Cargo(&["test", "--workspace", "--test", "engine"])],
    },
    Stage {
        name: "crash",
        peers: &[],
        when: Full,
        steps: &[
            Cargo(&["build", "--workspace", "--all-targets"]),
            Thorough(&[
                "test",
                "--workspace",
                "--test",
                "e2e",
                "--",
                "--nocapture",
                "--test-threads=1",
                "crash",
            ]),
        ],
    },
    Stage {
        name: "layers",
        peers: &[],
        when: ByName,
        steps: &[Cargo(&["test", "--workspace", "--test", "layers", "--test", "deploy"])],
    },
    Stage { name: "arrow", peers: &[], when: Full, steps: &[Own(super::arrow::run)] },
    Stage { name: "parser", peers: &[], when: Full, steps: &[Own(super::parser::run)] },
    Stage { name: "newcomer", peers: &[], when: Full, steps: &[Own(newcomer::run)] },
];
