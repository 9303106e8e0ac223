//! `cargo xtask sim [--seed N] [--seeds N] [--hours H] [--mutants]`: runs seeds and prints what came of each.
//!
//! Without options, ten seeds from 1 on. `--seed N` runs that one (or starts there), `--hours H` goes on until that much
//! time has been simulated, `--mutants` plants each fault of the product in turn and expects it to be caught.

use std::process::ExitCode;
use std::time::Duration;

use cairn_sim::{Failure, Mutant, Settings, run};

/// Seeds that are run unless told otherwise.
const SEEDS: u64 = 10;
/// Seeds in which a mutant must be caught.
const MUTANT_SEEDS: u64 = 8;
const USAGE: &str = "usage: cargo xtask sim [--seed N] [--seeds N] [--hours H] [--mutants]";

#[derive(Debug, Clone, Copy, PartialEq)]
struct Options {
    first: u64,
    seeds: u64,
    hours: Option<f64>,
    mutants: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A panic is reported as the violation that it is, with its seed.
    std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
    let all_held = if options.mutants { hunt_mutants(options.first) } else { run_seeds(options) };
    if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(args: &[String]) -> Option<Options> {
    let (mut seed, mut seeds, mut hours, mut mutants) = (None, None, None, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => seed = Some(args.next()?.parse().ok()?),
            "--seeds" => seeds = Some(args.next()?.parse().ok().filter(|n| *n > 0)?),
            "--hours" => hours = Some(args.next()?.parse().ok().filter(|h: &f64| *h > 0.0)?),
            "--mutants" => mutants = true,
            _ => return None,
        }
    }
    // One seed that was named is run alone.
    let seeds = seeds.unwrap_or(if seed.is_some() { 1 } else { SEEDS });
    Some(Options { first: seed.unwrap_or(1), seeds, hours, mutants })
}

fn run_seeds(options: Options) -> bool {
    let (mut simulated, mut faults, mut checks, mut acked) = (Duration::ZERO, 0, 0, 0);
    let (mut ok, mut failed) = (0u64, 0u64);
    for seed in options.first.. {
        let enough = match options.hours {
            Some(hours) => simulated >= Duration::from_secs_f64(hours * 3600.0),
            None => seed - options.first >= options.seeds,
        };
        if enough {
            break;
        }
        match run(&Settings::of_seed(seed)) {
            Ok(report) => {
                println!("{report}");
                simulated += report.simulated;
                faults += report.faults;
                checks += report.checks;
                acked += report.acked;
                ok += 1;
            }
            Err(failure) => {
                tell(&failure);
                simulated += failure.at;
                failed += 1;
            }
        }
    }
    let hours = simulated.as_secs_f64() / 3600.0;
    println!(
        "sim: {ok} seeds ok, {failed} failed, {hours:.2} sim-h, {faults} faults, {checks} checks, {acked} samples acked"
    );
    failed == 0
}

fn tell(failure: &Failure) {
    println!("{failure}");
    println!("rerun: cargo xtask sim --seed {}", failure.seed);
}

fn hunt_mutants(first: u64) -> bool {
    let mut survivors = 0;
    for mutant in Mutant::ALL {
        let caught = (first..first + MUTANT_SEEDS)
            .find_map(|seed| run(&Settings { mutant: Some(mutant), ..Settings::of_seed(seed) }).err());
        match caught {
            Some(f) => println!("mutant {mutant:?} caught by seed {}: {}", f.seed, f.violation.invariant),
            None => {
                survivors += 1;
                println!("mutant {mutant:?} survived {MUTANT_SEEDS} seeds");
            }
        }
    }
    println!("sim: {} mutants caught, {survivors} survived", Mutant::ALL.len() - survivors);
    survivors == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let args = |text: &str| parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(args(""), Some(Options { first: 1, seeds: SEEDS, hours: None, mutants: false }));
        assert_eq!(args("--seed 7").map(|o| (o.first, o.seeds)), Some((7, 1)));
        assert_eq!(
            args("--seed 7 --seeds 3 --mutants").map(|o| (o.first, o.seeds, o.mutants)),
            Some((7, 3, true))
        );
        assert_eq!(args("--hours 0.5").and_then(|o| o.hours), Some(0.5));
        for bad in ["--seed", "--seed x", "--seeds 0", "--hours -1", "fast"] {
            assert_eq!(args(bad), None, "{bad}");
        }
    }
}
