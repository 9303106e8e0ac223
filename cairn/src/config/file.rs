//! `cairn.yml`: any flag by its name without the dashes, as a default below environment and command line.
//!
//! The file is applied to the command line's definition before it is parsed, so precedence, types and error
//! texts are those of the flags. An unknown key is an error that suggests the nearest flag.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};
use serde::Deserialize;

use super::did_you_mean;

/// Largest configuration file that is read.
const MAX_FILE_BYTES: usize = 1 << 20;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum ConfigFileError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot parse {path}: {reason}")]
    Parse { path: PathBuf, reason: String },
    #[error("{path}: unknown key {key:?}{hint}; `cairn --help` lists the flags, which are the keys")]
    UnknownKey { path: PathBuf, key: String, hint: String },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    One(Scalar),
    Many(Vec<Scalar>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl Scalar {
    fn into_text(self) -> String {
        match self {
            Scalar::Bool(b) => b.to_string(),
            Scalar::Integer(i) => i.to_string(),
            Scalar::Float(f) => f.to_string(),
            Scalar::Text(t) => t,
        }
    }
}

/// `command` with the defaults that the file at `path` sets.
///
/// # Errors
/// [`ConfigFileError`] naming the file and the key.
pub fn with_file_defaults(command: Command, path: &Path) -> Result<Command, ConfigFileError> {
    #[allow(clippy::disallowed_methods)] // read once, before there is a runtime
    let bytes =
        std::fs::read(path).map_err(|source| ConfigFileError::Read { path: path.to_owned(), source })?;
    let parse = |reason: String| ConfigFileError::Parse { path: path.to_owned(), reason };
    if bytes.len() > MAX_FILE_BYTES {
        return Err(parse(format!("{} bytes, the limit is {MAX_FILE_BYTES}", bytes.len())));
    }
    let text = std::str::from_utf8(&bytes).map_err(|e| parse(e.to_string()))?;
    if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
        return Ok(command);
    }
    let values: BTreeMap<String, Value> = serde_saphyr::from_str(text).map_err(|e| parse(e.to_string()))?;
    values.into_iter().try_fold(command, |command, (key, value)| apply(command, path, key, value))
}

fn apply(command: Command, path: &Path, key: String, value: Value) -> Result<Command, ConfigFileError> {
    let Some(id) = command.get_arguments().find(|a| a.get_long() == Some(&key)).map(|a| a.get_id().clone())
    else {
        let hint = did_you_mean(&key, command.get_arguments().filter_map(Arg::get_long));
        return Err(ConfigFileError::UnknownKey { path: path.to_owned(), key, hint });
    };
    let defaults = match value {
        Value::One(v) => vec![v.into_text()],
        Value::Many(list) => list.into_iter().map(Scalar::into_text).collect(),
    };
    Ok(command.mut_arg(id, move |arg: Arg| arg.default_values(defaults)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::{CommandFactory, FromArgMatches};

    fn parsed(yaml: &str, args: &[&str]) -> Result<Cli, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cairn.yml");
        #[allow(clippy::disallowed_methods)] // a test's own file
        std::fs::write(&path, yaml).unwrap();
        let command = with_file_defaults(Cli::command(), &path).map_err(|e| e.to_string())?;
        let matches = command.try_get_matches_from([&["cairn"], args].concat()).map_err(|e| e.to_string())?;
        Ok(Cli::from_arg_matches(&matches).unwrap())
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let yaml = "http-address: 127.0.0.1:1\ntsdb.block-duration: 1h\nrule-file: [a.yml, b.yml]\n";
        let cli = parsed(yaml, &["--tsdb.block-duration=30m"]).unwrap();
        assert_eq!(cli.serve.http_address, "127.0.0.1:1");
        assert_eq!(cli.serve.block_duration.0.as_secs(), 1800);
        assert_eq!(cli.serve.rule_file, ["a.yml", "b.yml"]);
    }

    #[test]
    fn an_unknown_key_is_refused_with_a_suggestion() {
        let e = parsed("http-adress: x\n", &[]).unwrap_err();
        assert!(e.contains("unknown key \"http-adress\", did you mean \"http-address\"?"), "{e}");
    }

    #[test]
    fn a_wrong_value_and_a_wrong_file_are_named() {
        assert!(parsed("tsdb.block-duration: soon\n", &[]).unwrap_err().contains("soon"));
        assert!(parsed("a: [\n", &[]).unwrap_err().contains("cairn.yml"));
        parsed("# nothing yet\n", &[]).unwrap();
    }
}
