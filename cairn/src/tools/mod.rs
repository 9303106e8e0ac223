//! `cairn tools …`: look at data, with or without a running cairn.
//!
//! Answers go to stdout, progress to stderr when it is a terminal. Exit codes: 0 well, 1 findings or failure,
//! 2 wrong usage.

mod progress;
mod promql;
mod query;
mod tsdb;

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

/// Groups of tools.
#[derive(Debug, Subcommand)]
pub enum ToolsCommand {
    /// Expressions.
    #[command(subcommand)]
    Promql(promql::PromqlCommand),
    /// Questions to a running server.
    #[command(subcommand)]
    Query(query::QueryCommand),
    /// Blocks in a folder.
    #[command(subcommand)]
    Tsdb(tsdb::TsdbCommand),
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Output {
    /// For people, in promtool's shape.
    #[default]
    Table,
    /// One JSON object a row.
    Json,
}

/// What a tool found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is well.
    Well,
    /// Something is not: exit 1, after it was printed.
    Findings,
}

/// Runs a tool.
pub fn run(command: ToolsCommand) -> ExitCode {
    let outcome = match command {
        ToolsCommand::Promql(command) => promql::run(command),
        ToolsCommand::Query(command) => query::run(command),
        ToolsCommand::Tsdb(command) => tsdb::run(command),
    };
    match outcome {
        Ok(Verdict::Well) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(crate::EXIT_FAILED),
        // The reader of a pipe went away: that is how `| head` ends.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cairn: {e:#}");
            ExitCode::from(crate::EXIT_FAILED)
        }
    }
}

fn is_broken_pipe(e: &anyhow::Error) -> bool {
    e.chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}
