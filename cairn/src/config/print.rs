//! `--print-config`: the configuration that results, as the YAML that would reproduce it.

use std::fmt::Write;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// Flags whose values are secrets or carry them.
const SECRET: &[&str] = &["objstore.config"];

/// All flags with their values and where each came from.
pub fn printed(command: &Command, matches: &ArgMatches) -> String {
    let mut out = String::new();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let id = arg.get_id().as_str();
        if matches!(long, "help" | "version" | "print-config" | "config.file") {
            continue;
        }
        let values: Vec<String> = matches
            .try_get_raw(id)
            .ok()
            .flatten()
            .map(|v| v.map(|s| s.to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        let origin = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "command line",
            Some(ValueSource::EnvVariable) => "environment",
            Some(_) => "default or file",
            None => {
                let _ = writeln!(out, "# {long}: not set");
                continue;
            }
        };
        let shown = if SECRET.contains(&long) { vec!["<secret>".to_owned()] } else { values };
        let yaml = match shown.as_slice() {
            [one] => quoted(one),
            many => format!("[{}]", many.iter().map(|v| quoted(v)).collect::<Vec<_>>().join(", ")),
        };
        let _ = writeln!(out, "{long}: {yaml} # {origin}");
    }
    out
}

/// A JSON string is a YAML string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::CommandFactory;

    #[test]
    fn origins_are_told_and_secrets_are_not() {
        let args = ["cairn", "--http-address=h:1", "--objstore.config=secret_key: x"];
        let matches = Cli::command().try_get_matches_from(args).unwrap();
        let text = printed(&Cli::command(), &matches);
        assert!(text.contains("http-address: \"h:1\" # command line\n"), "{text}");
        assert!(text.contains("tsdb.block-duration: \"2h\" # default or file\n"), "{text}");
        assert!(text.contains("objstore.config: \"<secret>\"") && !text.contains("secret_key"), "{text}");
        assert!(text.contains("# memory.limit: not set\n"), "{text}");
    }
}
