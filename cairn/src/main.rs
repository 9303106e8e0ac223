//! Long-term Prometheus storage that loses nothing: receive, rule, compact, store and query in one binary.
//!
//! Here are only the steps of a start: read the configuration ([`config`]), set up logs ([`logging`]), then run a
//! tool ([`tools`]) or serve ([`all_in_one`]). What the roles do is in their crates.

mod all_in_one;
mod allocator;
mod config;
mod limits;
mod logging;
mod ready;
mod self_monitoring;
mod tools;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use config::{Cli, Sub, with_file_defaults};

/// Cannot start, or the work of a tool failed.
const EXIT_FAILED: u8 = 1;
/// Wrong usage; clap's own code as well.
const EXIT_USAGE: u8 = 2;

/// Words that will be sub-commands of their own: asking for one must not look like a typing error.
const ROLES_TO_COME: &[&str] = &["receive", "rule", "compact", "query", "store", "sidecar", "cluster"];

fn main() -> ExitCode {
    // object_store and the Alertmanager client share one TLS library; the first one installed serves both.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Some(role) = std::env::args().nth(1).filter(|a| ROLES_TO_COME.contains(&a.as_str())) {
        eprintln!(
            "cairn: `{role}` as a process of its own is not available yet; `cairn` alone runs every role in one process"
        );
        return ExitCode::from(EXIT_USAGE);
    }
    let cli = match read_cli() {
        Ok(cli) => cli,
        Err(Refused::Usage(e)) => e.exit(),
        Err(Refused::File(e)) => {
            eprintln!("cairn: {e}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match cli.sub {
        Some(Sub::Tools(command)) => tools::run(command),
        None if cli.serve.print_config => {
            print!("{}", config::printed(&Cli::command(), &cli.matches));
            ExitCode::SUCCESS
        }
        None => serve(cli.serve, config::Described::of(&Cli::command(), &cli.matches)),
    }
}

/// The command line with its origin, for `--print-config`.
struct ReadCli {
    sub: Option<Sub>,
    serve: config::ServeFlags,
    matches: clap::ArgMatches,
}

enum Refused {
    Usage(clap::Error),
    File(config::ConfigFileError),
}

/// Parses twice: once to learn of the configuration file, once with what it sets as defaults.
fn read_cli() -> Result<ReadCli, Refused> {
    let first = Cli::command().try_get_matches().map_err(Refused::Usage)?;
    let matches = match first.get_one::<std::path::PathBuf>("config_file") {
        None => first,
        Some(path) => {
            let command = with_file_defaults(Cli::command(), path).map_err(Refused::File)?;
            command.try_get_matches().map_err(Refused::Usage)?
        }
    };
    let cli = Cli::from_arg_matches(&matches).map_err(Refused::Usage)?;
    Ok(ReadCli { sub: cli.sub, serve: cli.serve, matches })
}

fn serve(flags: config::ServeFlags, described: config::Described) -> ExitCode {
    allocator::set_up();
    if let Err(e) = logging::start(&flags.log_level, flags.log_format) {
        eprintln!("cairn: {e}");
        return ExitCode::from(EXIT_USAGE);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("cairn: cannot start threads: {e}");
            return ExitCode::from(EXIT_FAILED);
        }
    };
    match runtime.block_on(all_in_one::serve(flags, described)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cairn: {e:#}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}
