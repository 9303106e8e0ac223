//! What the configuration is: `--print-config` and the status pages. Secrets are not in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// Flags whose values are secrets or carry them.
const SECRET: &[&str] = &["objstore.config"];
/// Stands for a secret, as in Prometheus.
const HIDDEN: &str = "<secret>";

/// The configuration in force, in the two forms that are shown.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// Every flag with its value; those that are not set are empty.
    pub flags: BTreeMap<String, String>,
    /// The YAML that would reproduce it.
    pub yaml: String,
}

impl Described {
    /// Of a command line that was parsed.
    pub fn of(command: &Command, matches: &ArgMatches) -> Self {
        let flags = settings(command, matches).map(|s| (s.name.to_owned(), s.values.join(","))).collect();
        Described { flags, yaml: printed(command, matches) }
    }
}

/// All flags with their values and where each came from, as YAML.
pub fn printed(command: &Command, matches: &ArgMatches) -> String {
    let mut out = String::new();
    for Setting { name, values, origin } in settings(command, matches) {
        let Some(origin) = origin else {
            let _ = writeln!(out, "# {name}: not set");
            continue;
        };
        let yaml = match values.as_slice() {
            [one] => quoted(one),
            many => format!("[{}]", many.iter().map(|v| quoted(v)).collect::<Vec<_>>().join(", ")),
        };
        let _ = writeln!(out, "{name}: {yaml} # {origin}");
    }
    out
}

/// A flag as it may be shown.
struct Setting<'a> {
    name: &'a str,
    values: Vec<String>,
    origin: Option<&'static str>,
}

fn settings<'a>(command: &'a Command, matches: &'a ArgMatches) -> impl Iterator<Item = Setting<'a>> {
    let flags = command.get_arguments().filter_map(|arg| Some((arg.get_id().as_str(), arg.get_long()?)));
    let kept =
        flags.filter(|(_, name)| !matches!(*name, "help" | "version" | "print-config" | "config.file"));
    kept.map(|(id, name)| {
        let origin = matches.value_source(id).map(|source| match source {
            ValueSource::CommandLine => "command line",
            ValueSource::EnvVariable => "environment",
            _ => "default or file",
        });
        let raw = matches.try_get_raw(id).ok().flatten();
        let values = raw.map(|v| v.map(|s| shown(name, &s.to_string_lossy())).collect());
        Setting { name, values: values.unwrap_or_default(), origin }
    })
}

/// A value without what is secret in it: all of it, or the password of a URL.
fn shown(name: &str, value: &str) -> String {
    if SECRET.contains(&name) {
        return HIDDEN.to_owned();
    }
    let password = || {
        let (scheme, rest) = value.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (user_info, _) = authority.rsplit_once('@')?;
        let (user, _) = user_info.split_once(':')?;
        Some(format!("{scheme}://{user}:{HIDDEN}{}", &rest[user_info.len()..]))
    };
    password().unwrap_or_else(|| value.to_owned())
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

    fn described(args: &[&str]) -> Described {
        let matches = Cli::command().try_get_matches_from([&["cairn"], args].concat()).unwrap();
        Described::of(&Cli::command(), &matches)
    }

    #[test]
    fn origins_are_told_and_secrets_are_not() {
        let d = described(&["--http-address=h:1", "--objstore.config=secret_key: x"]);
        let text = &d.yaml;
        assert!(text.contains("http-address: \"h:1\" # command line\n"), "{text}");
        assert!(text.contains("tsdb.block-duration: \"2h\" # default or file\n"), "{text}");
        assert!(text.contains("objstore.config: \"<secret>\"") && !text.contains("secret_key"), "{text}");
        assert!(text.contains("# memory.limit: not set\n"), "{text}");
        assert_eq!(d.flags["objstore.config"], "<secret>");
    }

    #[test]
    fn every_flag_has_a_value_and_urls_lose_their_passwords() {
        let urls = "--alertmanagers.url=http://me:pw@a:9093/x@y,http://b:9093";
        let flags = described(&[urls, "--compact.disable"]).flags;
        assert_eq!(flags["alertmanagers.url"], "http://me:<secret>@a:9093/x@y,http://b:9093");
        assert_eq!(flags["compact.disable"], "true");
        assert_eq!(flags["self-monitoring.disable"], "false");
        assert_eq!(flags["query.timeout"], "2m");
        assert_eq!(flags["memory.limit"], "");
        assert!(!flags.contains_key("help") && flags.len() > 30);
    }
}
