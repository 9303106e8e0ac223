//! `cargo xtask test [--full] [STAGE…]`: every test there is, stage by stage, and one line that sums them up.
//!
//! Parts in order: `list` (the stages) → `runner` (their commands) → `tally` (counting). A stage that fails does not
//! stop the next. Invariant: the last line on stdout is `N passed, N failed, N skipped`, and the exit code follows from
//! it alone: 0 iff nothing failed, and with `CI` set, nothing was skipped either.

mod arrow;
mod list;
mod newcomer;
mod parser;
mod runner;
mod tally;

use std::time::Instant;

use anyhow::{Result, bail};
use list::{STAGES, Stage, Step, When};
use runner::Runner;
use tally::Counts;

use crate::{peers, workspace};

/// Runs the command.
///
/// # Errors
/// When a named stage does not exist.
pub fn run(args: &[String]) -> Result<i32> {
    let mut total = Counts::default();
    for stage in chosen(args)? {
        let start = Instant::now();
        let counts = run_stage(stage);
        println!("stage {} {:.1} s", stage.name, start.elapsed().as_secs_f64());
        total = total.plus(counts);
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    Ok(total.exit_code(std::env::var_os("CI").is_some_and(|v| !v.is_empty())))
}

/// The stages that the arguments ask for, in the list's order.
fn chosen(args: &[String]) -> Result<Vec<&'static Stage>> {
    let full = args.iter().any(|a| a == "--full");
    let names: Vec<&str> = args.iter().map(String::as_str).filter(|a| *a != "--full").collect();
    for name in &names {
        if !STAGES.iter().any(|s| s.name == *name) {
            let known: Vec<&str> = STAGES.iter().map(|s| s.name).collect();
            bail!("cannot run stage {name}: there are {}", known.join(", "));
        }
    }
    let wanted = |stage: &&Stage| match stage.when {
        _ if !names.is_empty() => names.contains(&stage.name),
        When::Always => true,
        When::Full => full,
        When::ByName => false,
    };
    Ok(STAGES.iter().filter(wanted).collect())
}

fn run_stage(stage: &Stage) -> Counts {
    for reason in peers::fetch(stage.peers) {
        println!("{reason}");
    }
    let mut runner = Runner::default();
    for step in stage.steps {
        let done = match step {
            Step::Cargo(args) => runner.run(workspace::cargo().args(*args)).map(|_| ()),
            Step::Thorough(args) => {
                runner.run(workspace::cargo().args(*args).env("CAIRN_THOROUGH", "1")).map(|_| ())
            }
            Step::Own(run) => run(&mut runner),
        };
        if let Err(error) = done {
            println!("stage {}: {error:#}", stage.name);
            runner.count(Counts { failed: 1, ..Counts::default() });
        }
    }
    runner.counts()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(args: &[&str]) -> Vec<&'static str> {
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        chosen(&args).unwrap().iter().map(|s| s.name).collect()
    }

    #[test]
    fn long_stages_run_only_in_full_or_by_name() {
        assert!(!names(&[]).contains(&"newcomer"));
        assert!(names(&["--full"]).contains(&"newcomer"));
        assert_eq!(names(&["newcomer"]), ["newcomer"]);
        assert_eq!(names(&["unit", "fmt"]), ["fmt", "unit"]);
        assert!(
            chosen(&["nonesuch".to_owned()]).is_err_and(|e| e.to_string().contains("fmt, lint, build, unit"))
        );
    }

    #[test]
    fn every_stage_does_something_and_has_a_name_of_its_own() {
        for (position, stage) in STAGES.iter().enumerate() {
            assert!(!stage.steps.is_empty(), "{}", stage.name);
            assert!(STAGES[position + 1..].iter().all(|s| s.name != stage.name), "{} twice", stage.name);
        }
    }
}
