//! `cargo xtask fuzz [TARGET] [--seconds N] | --seed-corpus`: coverage-guided fuzzing on stable Rust, without cargo-fuzz.
//!
//! Parts in order: the targets are the binaries of `fuzz/Cargo.toml` → one build with LLVM's coverage counters → each
//! target for its time over `fuzz/corpus/TARGET` (inputs kept in the repository, replayed by plain `cargo test`) → the
//! runner's own count of executions. Only AddressSanitizer would need a nightly compiler; the targets are safe Rust.
//! `--seed-corpus` writes the kept seeds anew with the product's encoders (`tests/tests/fuzz_corpora`).
//! Invariant: a target that did not run is an error, never `0 crashes`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::workspace;

/// Seconds a target runs unless told otherwise.
const SECONDS: u64 = 60;
/// Longest input the fuzzer makes up: decoders' interesting lengths are far below.
const MAX_INPUT_BYTES: usize = 64 << 10;
/// Where libFuzzer's instrumentation is built for; a named target keeps build scripts free of it.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// What cargo-fuzz would pass, in the spelling that a stable compiler takes.
const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "--cfg",
    "tokio_unstable",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions=on",
    "-Coverflow-checks=on",
];

/// Runs the command. Exit code 0 when no target crashed.
///
/// # Errors
/// When there is no such target, or one cannot be built or run.
pub fn run(args: &[String]) -> Result<i32> {
    let options = parse(args)?;
    if options.seed_corpus {
        return seed_corpus();
    }
    let folder = workspace::root().join("fuzz");
    let manifest = folder.join("Cargo.toml");
    ensure!(
        manifest.is_file(),
        "cannot fuzz: {} does not exist yet, so there are no targets",
        manifest.display()
    );
    let mut targets = targets(&manifest)?;
    if let Some(wanted) = &options.target {
        ensure!(targets.contains(wanted), "cannot fuzz {wanted}: the targets are {}", targets.join(", "));
        targets.retain(|t| t == wanted);
    }
    ensure!(!targets.is_empty(), "cannot fuzz: {} has no binaries", manifest.display());
    build(&manifest, &folder)?;
    let mut crashes = 0;
    for target in &targets {
        let outcome = fuzz(&folder, target, options.seconds)?;
        println!("target {target} {} execs {} crashes", outcome.execs, outcome.crashes.len());
        for input in &outcome.crashes {
            println!("  rerun: {} {}", binary(&folder, target).display(), input.display());
        }
        crashes += outcome.crashes.len();
    }
    Ok(i32::from(crashes > 0))
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    target: Option<String>,
    seconds: u64,
    seed_corpus: bool,
}

fn parse(args: &[String]) -> Result<Options> {
    let mut options = Options { target: None, seconds: SECONDS, seed_corpus: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => match args.next().and_then(|n| n.parse().ok()) {
                Some(n) if n > 0 => options.seconds = n,
                _ => bail!("cannot fuzz: expected --seconds N with N of 1 or more"),
            },
            "--seed-corpus" if args.len() == 0 && options.target.is_none() => options.seed_corpus = true,
            name if !name.starts_with('-') && options.target.is_none() => {
                options.target = Some(name.to_owned())
            }
            other => bail!("cannot fuzz with {other}: expected one target and --seconds N, or --seed-corpus"),
        }
    }
    Ok(options)
}

/// Writes the seeds of all targets; their generator is a test, which has the product's encoders at hand.
fn seed_corpus() -> Result<i32> {
    let status = workspace::cargo()
        .args(["test", "--workspace", "--test", "fuzz_corpora", "seeds_are_what_their_generator_makes"])
        .env("CAIRN_WRITE_SEEDS", "1")
        .status()
        .context("cannot run cargo")?;
    Ok(i32::from(!status.success()))
}

/// Names of the binaries of the fuzz package.
fn targets(manifest: &Path) -> Result<Vec<String>> {
    let output = workspace::cargo()
        .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cannot read {}", manifest.display());
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cannot read cargo's metadata")?;
    let all = metadata["packages"].as_array().into_iter().flatten();
    let binaries =
        all.flat_map(|package| package["targets"].as_array().into_iter().flatten()).filter(|target| {
            target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
        });
    let mut names: Vec<String> = binaries.filter_map(|t| t["name"].as_str()).map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

fn build(manifest: &Path, folder: &Path) -> Result<()> {
    // The product's versions of everything; what only the fuzzer needs is added to the copy.
    fs::copy(workspace::root().join("Cargo.lock"), folder.join("Cargo.lock"))
        .context("cannot copy Cargo.lock")?;
    let status = workspace::cargo()
        .args(["build", "--release", "--bins", "--target", TRIPLE, "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(folder.join("target"))
        // Separated by 0x1f, so that no flag is split at a space.
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cannot build the fuzz targets: cargo ended with {status}");
    Ok(())
}

fn binary(folder: &Path, target: &str) -> PathBuf {
    folder.join("target").join(TRIPLE).join("release").join(target)
}

#[derive(Debug)]
struct Outcome {
    execs: u64,
    crashes: Vec<PathBuf>,
}

fn fuzz(folder: &Path, target: &str, seconds: u64) -> Result<Outcome> {
    let corpus = folder.join("corpus").join(target);
    // What the fuzzer finds of use goes beside the kept corpus, not into it.
    let found = folder.join("target").join("found").join(target);
    let artifacts = folder.join("artifacts").join(target);
    for path in [&corpus, &found, &artifacts] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let before = files(&artifacts);
    let output = Command::new(binary(folder, target))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_INPUT_BYTES}"))
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([&found, &corpus])
        .output()
        .with_context(|| format!("cannot run fuzz target {target}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let crashes: Vec<PathBuf> = files(&artifacts).difference(&before).cloned().collect();
    if !crashes.is_empty() || !output.status.success() {
        eprint!("{said}");
    }
    let execs = executions(&said).with_context(|| {
        format!("cannot tell how often fuzz target {target} ran: it ended with {}", output.status)
    })?;
    ensure!(execs > 0, "fuzz target {target} did not run once");
    ensure!(
        output.status.success() || !crashes.is_empty(),
        "fuzz target {target} ended with {} and left no input to run again",
        output.status
    );
    Ok(Outcome { execs, crashes })
}

/// Inputs that made a target crash, hang or use too much memory.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// libFuzzer's own count; when it crashed before its summary, the count of its last status line.
fn executions(said: &str) -> Option<u64> {
    let summary = said.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units:"));
    if let Some(count) = summary.and_then(|n| n.trim().parse().ok()) {
        return Some(count);
    }
    said.lines().rev().find_map(|l| l.strip_prefix('#')?.split_ascii_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_the_runners_own_count() {
        let said = "#2\tINITED cov: 5\n#8192\tpulse\nstat::number_of_executed_units: 12345\nstat::x: 1\n";
        assert_eq!(executions(said), Some(12_345));
        assert_eq!(executions("#2\tINITED\n#77\tNEW cov: 9\npanicked at …"), Some(77));
        assert_eq!(executions("no such file"), None);
    }

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let args = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&args("snappy --seconds 5")).unwrap();
        assert_eq!(options, Options { target: Some("snappy".to_owned()), seconds: 5, seed_corpus: false });
        assert!(parse(&args("--seed-corpus")).unwrap().seed_corpus);
        assert_eq!(parse(&[]).unwrap().seconds, SECONDS);
        for bad in ["a b", "--seconds", "--seconds 0", "--fast", "a --seed-corpus", "--seed-corpus a"] {
            assert!(parse(&args(bad)).is_err(), "{bad}");
        }
    }
}
