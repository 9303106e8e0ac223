//! `cairn tools promql …`: expressions without a server.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use cairn_model::matcher::anchored_regex;
use cairn_promql::memory::MemoryEngine;
use cairn_promql::parser::{parse, prettify};
use cairn_promql::testlang::{Script, run_matching};
use cairn_runtime::{Disk, RealDisk};
use clap::{Args, Subcommand};

use super::Verdict;
use crate::config::Feature;

/// Tools over PromQL.
#[derive(Debug, Subcommand)]
pub enum PromqlCommand {
    /// Run files in the promqltest language; every eval is also checked as a range query.
    Test(Test),
    /// Print an expression as Prometheus would format it.
    Format(Format),
}

/// Flags of `test`.
#[derive(Debug, Args)]
pub struct Test {
    /// Files to run.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only evaluations whose expression matches this regular expression.
    #[arg(long, value_name = "RE")]
    run: Option<String>,
}

/// Flags of `format`.
#[derive(Debug, Args)]
pub struct Format {
    /// Experimental features by Prometheus' names, separated by commas. Repeatable.
    #[arg(long = "enable-feature", value_enum, value_delimiter = ',', value_name = "FEATURE")]
    enable_feature: Vec<Feature>,
    /// The expression.
    query: String,
}

/// Runs a tool over PromQL.
///
/// # Errors
/// What cannot be read or parsed, named.
pub fn run(command: PromqlCommand) -> Result<Verdict> {
    let mut out = std::io::stdout().lock();
    match command {
        PromqlCommand::Test(args) => test(&args, &mut out),
        PromqlCommand::Format(args) => {
            let features = Feature::of_the_language(&args.enable_feature);
            writeln!(out, "{}", prettify(&parse(&args.query, features)?))?;
            Ok(Verdict::Well)
        }
    }
}

fn test(args: &Test, out: &mut dyn Write) -> Result<Verdict> {
    let only = args
        .run
        .as_ref()
        .map(|re| anchored_regex(&format!(".*(?:{re}).*")).with_context(|| format!("--run {re:?}")))
        .transpose()?;
    let (mut passed, mut failed) = (0, 0);
    for file in &args.files {
        let name = file.display();
        let text = RealDisk.read(file).with_context(|| format!("cannot read {name}"))?;
        let text = String::from_utf8(text).with_context(|| format!("{name} is not UTF-8 text"))?;
        let script = Script::parse(&text).map_err(|e| anyhow::anyhow!("{name}:{e}"))?;
        let mut wanted = |eval: &cairn_promql::testlang::script::Eval| {
            only.as_ref().is_none_or(|re| re.is_match(&eval.query))
        };
        let outcome = run_matching(&script, &mut MemoryEngine::for_tests(), &mut wanted);
        for failure in &outcome.failures {
            writeln!(out, "{name}:{failure}")?;
        }
        passed += outcome.passed;
        failed += outcome.failures.len();
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(if failed == 0 { Verdict::Well } else { Verdict::Findings })
}
