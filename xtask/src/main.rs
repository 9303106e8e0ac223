//! Every habit of this repository as a command: `cargo xtask help` lists them.
//!
//! Parts in order: the command table below → one module a command. xtask depends on almost nothing, so that the first
//! `cargo xtask` after a clone answers within seconds.
#![allow(
    clippy::disallowed_methods,
    reason = "drives real processes, files and clocks of a developer's machine; no part of the product"
)]

mod bench;
mod fuzz;
mod http;
mod peers;
mod sim;
mod stages;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;

/// A command: its name, its usage after the name, what it is for, and the function that runs it.
struct Habit {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<i32>,
}

/// Everything xtask can do. A new habit is one line here and one module.
const HABITS: &[Habit] = &[
    Habit {
        name: "test",
        usage: "[--full] [STAGE…]",
        about: "run all tests, or the named stages; the last line sums them up",
        run: stages::run,
    },
    Habit {
        name: "bench",
        usage: "NAME [--only ROW] [--quick] [--alone] [--repeat N] [--json]",
        about: "measure cairn beside its peers and judge it by the promised figures",
        run: bench::run,
    },
    Habit {
        name: "fuzz",
        usage: "[TARGET] [--seconds N] | --seed-corpus",
        about: "fuzz the decoders of outside bytes, one target or all, 60 s each; or write the seeds anew",
        run: fuzz::run,
    },
    Habit {
        name: "sim",
        usage: "[--seed N] [--seeds N] [--hours H] [--mutants]",
        about: "simulate a node with faults from seeds, and check its promises",
        run: sim::run,
    },
    Habit {
        name: "peers",
        usage: "[NAME…] | --path BINARY",
        about: "fetch the programs that tests and benches run beside cairn",
        run: peers::run,
    },
];

/// Exit code for a wrong command line.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        eprint!("{}", help());
        return ExitCode::from(USAGE);
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") || rest.iter().any(|a| a == "--help" || a == "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some(habit) = HABITS.iter().find(|h| h.name == name) else {
        eprintln!("cannot run {name}: no such command");
        eprint!("{}", help());
        return ExitCode::from(USAGE);
    };
    match (habit.run)(rest) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND …\n\n");
    for habit in HABITS {
        text.push_str(&format!("  {:<6} {}\n         {}\n", habit.name, habit.usage, habit.about));
    }
    text
}
