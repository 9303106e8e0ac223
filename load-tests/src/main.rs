//! Load generator and chaos driver against real processes.
//!
//! Parts in order: `fleet` (machines and their series) → `schedule` (series into requests) → `wire` (bytes) → `sender`
//! (connections) → `remote_write` (the run and its report) → `acked_log` and `verify` (was every acked sample kept?).
//! `demo` is another workload over the same sender: the metrics that PromQL comparisons ask for.
#![allow(
    clippy::disallowed_methods,
    reason = "drives real processes over real sockets, files, threads and clocks; no part of the product"
)]

mod acked_log;
mod bombs;
mod demo;
mod fleet;
mod latency;
mod remote_write;
mod schedule;
mod sender;
mod server_process;
mod target;
mod verify;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sender::Outcome;

/// Load generator for remote write receivers.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send rounds of realistic samples and report in JSON lines. Exit 0: all answered 2xx; 1: some refused; 3: unreachable.
    RemoteWrite(remote_write::Args),
    /// Send hours of a small service's metrics, with resets and gaps, to several receivers alike.
    Demo(demo::Args),
    /// Send decompression bombs and lying lengths while watching the server's memory. Exit 0: each got a 4xx.
    Bombs(bombs::Args),
    /// Ask a server for every sample that a run's log says was acked. Exit 0: all there; 1: findings; 3: unreachable.
    Verify(verify::Args),
}

const FINDINGS: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::RemoteWrite(args) => remote_write::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Bombs(args) => bombs::run(&args),
        Command::Verify(args) => verify::run(&args),
    };
    match outcome {
        Ok(Outcome::AllAcked) => ExitCode::SUCCESS,
        Ok(Outcome::SomeRefused) => ExitCode::from(FINDINGS),
        Ok(Outcome::Unreachable) => ExitCode::from(UNREACHABLE),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(USAGE)
        }
    }
}
